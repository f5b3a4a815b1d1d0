"""How far a sounding note is bent: vibrato and slides, without the steps between notes and the slips of the tuner."""

import numpy as np

REMEMBERED = 3  # readings, of which the middle one counts
LEAST = 0.5  # cents that are worth telling
FASTEST = 2_000.0  # cents a second: a vibrato of ±50 cents, six times a second, has 1900


class Bend:
    """Smooths readings of a note's deviation; all in cents."""

    def __init__(self) -> None:
        """Nothing sounds."""
        self.begin(0.0)

    def begin(self, cents: float) -> None:
        """A note began with this deviation: what was before it is forgotten."""
        self.cents = self._told = cents
        self._readings = [cents]

    def follow(self, cents: float, seconds: float) -> float | None:
        """The bend so long after the last reading, given a new one; None if it is hardly another than the last one told."""
        self._readings = [*self._readings[1 - REMEMBERED :], cents]
        step = FASTEST * seconds
        self.cents += float(np.clip(np.median(self._readings) - self.cents, -step, step))
        if abs(self.cents - self._told) < LEAST:
            return None
        self._told = self.cents
        return self.cents
