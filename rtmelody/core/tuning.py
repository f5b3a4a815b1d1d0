"""How far a note is from its pitch, in cents, from the phase advance of the resonators that hear it."""

import math

import numpy as np
from numpy.typing import NDArray

from rtmelody.core.framing import Framing

HARMONICS = (1, 2, 3, 4)
CENTS_RANGE = 100.0


class Tuner:
    """Averages phase advances over the last hops and reads deviations from them.

    A resonator's phase advances by 2 pi f · hop for the frequency f that it hears, not for the one it is tuned to; within a bin
    the two are so near that the missing whole turns are known (the phase vocoder's estimate: Flanagan & Golden 1966).
    """

    def __init__(self, framing: Framing, memory_s: float = 0.020) -> None:
        """Average over about `memory_s` seconds."""
        self._framing = framing
        self._hop_s = framing.hop / framing.sample_rate
        self._keep = np.float32(math.exp(-self._hop_s / memory_s))
        self._pitches = framing.front_end.pitches()
        self.reset()

    def reset(self) -> None:
        """Forget everything heard so far."""
        self._rotation = np.zeros(self._framing.front_end.bins, np.complex64)

    def hear(self, rotation: NDArray[np.complex64]) -> None:
        """Take in the phase advances of one hop [bins] (see `Frames`)."""
        self._rotation *= self._keep
        self._rotation += rotation

    def cents(self, pitch: int) -> float:
        """Deviation of what sounds near `pitch` and its harmonics from it, -100…100; 0 if nothing does."""
        total, weight = 0.0, 0.0
        for harmonic in HARMONICS:
            deviation, power = self._partial(pitch + 12.0 * math.log2(harmonic), harmonic)
            total += power * deviation
            weight += power
        return float(np.clip(total / weight, -CENTS_RANGE, CENTS_RANGE)) if weight > 0.0 else 0.0

    def _partial(self, pitch: float, harmonic: int) -> tuple[float, float]:
        """Deviation in cents and weight of the partial at a fractional pitch."""
        near = np.flatnonzero(np.abs(self._pitches - pitch) <= 0.75)
        if len(near) == 0:
            return 0.0, 0.0
        loudest = near[np.abs(self._rotation[near]).argmax()]
        nominal = self._framing.frequencies[loudest]
        turns = float(np.angle(self._rotation[loudest])) / (2 * math.pi) - nominal * self._hop_s
        frequency = nominal + (turns - round(turns)) / self._hop_s
        expected = self._framing.frequencies[0] * 2.0 ** ((pitch - self._pitches[0]) / 12.0)
        if frequency <= 0.0 or not 0.94 < frequency / expected < 1.06:
            return 0.0, 0.0  # another partial captured the bin
        # A high partial tells the deviation in cents more finely than a low one, in proportion to its number.
        return 1200.0 * math.log2(frequency / expected), float(np.abs(self._rotation[loudest])) * harmonic
