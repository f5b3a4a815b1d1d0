"""When a note began, to the millisecond: the tracker knows the hop, the samples know the moment.

An attack makes the sound stronger. Of all moments around the tracker's estimate, the one is taken that most likely divides two
stretches of noise of different power (the change of variance in Basseville & Nikiforov, *Detection of Abrupt Changes*, 1993,
chapter 2). Where nothing grew by much, as in a legato, the tracker's estimate stands.
"""

import numpy as np
from numpy.typing import NDArray

SLICE_S = 0.001
BEFORE_S = 0.03  # that the attack may lie before the tracker's estimate
SHORTEST = 3  # slices on either side of the attack
GROWTH = 2.0  # of the power, at least: 3 dB
SMALLEST_POWER = 1e-12  # that of no sound at all


def find(samples: NDArray[np.float32], sample_rate: float) -> int | None:
    """Place of the attack in a stretch of samples [n] that ends within the note; None if there is none to see."""
    size = max(1, round(SLICE_S * sample_rate))
    slices = len(samples) // size
    if slices < 2 * SHORTEST:
        return None
    start = len(samples) - slices * size
    power = np.square(samples[start:].reshape(slices, size), dtype=np.float64).mean(axis=1) + SMALLEST_POWER
    place = np.arange(SHORTEST, slices - SHORTEST + 1)
    sums = np.cumsum(power)
    before = sums[place - 1] / place
    after = (sums[-1] - sums[place - 1]) / (slices - place)
    grew = after > GROWTH * before
    if not grew.any():
        return None
    likelihood = np.where(grew, -place * np.log(before) - (slices - place) * np.log(after), -np.inf)
    return int(start + place[likelihood.argmax()] * size)
