"""What a melody makes likely: each pitch weighed by how often tunes move by that interval from the note before.

An option beside the plain debouncer, off by default, since it was measured to change little (docs/experiments.md).
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from rtmelody.events import Posterior

RARE = 1e-3  # added to every interval's share: nothing is impossible
MOST = 1.5  # natural logarithm of the largest factor, up or down


class Context:
    """The prior of the next pitch, learned from tunes."""

    def __init__(self, intervals: Sequence[float], pitches: int, weight: float) -> None:
        """For a network of some pitches; `intervals`: shares of -n … n semitones in tunes; `weight`: their exponent, 0…1."""
        reach = len(intervals) // 2
        share = np.full(2 * pitches - 1, RARE)
        share[pitches - 1 - reach : pitches + reach] += intervals
        share[pitches - 1] = 1.0 / len(share)  # the note itself: whether it is struck again, its onset tells
        factor = weight * np.log(share / share.mean())
        self._factor: NDArray[np.float32] = np.exp(np.clip(factor, -MOST, MOST)).astype(np.float32)
        self._pitches = pitches

    def weigh(self, posterior: Posterior, last: int) -> Posterior:
        """The posterior, given the class of the note that began last."""
        classes = posterior.classes.copy()
        classes[:-1] *= self._factor[self._pitches - 1 - last : 2 * self._pitches - 1 - last]
        return msgspec.structs.replace(posterior, classes=classes / classes.sum())
