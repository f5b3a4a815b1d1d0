"""How far a note is from its pitch, in cents, from the phase advance of the resonators that hear its partials.

And what that says, over some notes, of how the player's instrument is tuned.

A resonator's phase advances by 2 pi f · hop for the frequency f that it hears, not for the one that it is tuned to; within a
bin the two are so near that the missing whole turns are known (the phase vocoder's estimate: Flanagan & Golden 1966).
"""

import cmath
import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from rtmelody.config import HIGHEST_A4_HZ, LOWEST_A4_HZ
from rtmelody.core.framing import Framing

PARTIALS = (1, 2, 3, 4)  # higher ones are inharmonic: on a piano's fourth partial 5 cents, on its eighth 20
REACH = 0.75  # semitones from a partial to the bins that may hear it
WIDEST_CENTS = 60.0  # further away another note captured the bin
DECISION_S = 0.020  # a note is named about this long after its onset
MOST_LEAN = 0.5  # of the way to its own frequency: a bin that leans further has hardly heard the tone
TINY = 1e-12
HEARD = 0.5  # of the loudest bin's power: what a note's partials amount to, unless another one is still louder
NOTES = 8  # before anything is said of a player's tuning
IN_TUNE_CENTS = 2.0
AGREEMENT = 0.8  # 0…1, of the notes' deviations: those of singers who go by no fixed tuning agree less
FARTHEST_CENTS = 40.0  # from the tuning that was set: half a semitone away nobody knows which


class Tuner:
    """Reads deviations from the phase advances of a single hop: longer averages would remember the note before."""

    def __init__(self, framing: Framing) -> None:
        """Read from this bank."""
        self._hop_s = framing.hop / framing.sample_rate
        self._framing = framing
        self._pitches = framing.front_end.pitches()
        # How much of a bin's answer to a new tone is there at the decision, the rest being the last note: two one-pole stages
        # in a row answer with 1 - (1 + x) e^-x. Squared twice, since a bin that is half settled is worth much less than half.
        x = framing.decay * framing.sample_rate * DECISION_S
        self._trust = (1.0 - (1.0 + x) * np.exp(-x)) ** 4

    def cents(self, rotation: NDArray[np.complex64], pitch: int) -> float:
        """Deviation (-60…60) from `pitch` of what sounds there, given a hop's rotations [bins]; 0 if nothing does."""
        return self._deviation(rotation, pitch)[0]

    def first_cents(self, rotation: NDArray[np.complex64], pitch: int, last: float) -> float:
        """The same at a note's first sign: the softer that is beside what still rings, the more counts the `last` deviation."""
        deviation, power = self._deviation(rotation, pitch)
        share = min(1.0, power / (HEARD * float(np.abs(rotation).max()) + TINY))
        return share * deviation + (1.0 - share) * last

    def _deviation(self, rotation: NDArray[np.complex64], pitch: int) -> tuple[float, float]:
        """Deviation in cents, and the power of what says so."""
        total, weight, power = 0.0, 0.0, 0.0
        for partial in PARTIALS:
            deviation, level, trust = self._partial(rotation, pitch + 12.0 * math.log2(partial))
            # In cents, the n-th partial is n times as exact as the first.
            total += level * trust * partial * deviation
            weight += level * trust * partial
            power += level
        return (total / weight if weight > 0.0 else 0.0), power

    def _partial(self, rotation: NDArray[np.complex64], pitch: float) -> tuple[float, float, float]:
        """Deviation in cents, power, and trust in what is heard of the partial at a fractional pitch."""
        near = np.flatnonzero(np.abs(self._pitches - pitch) <= REACH)
        if len(near) == 0:
            return 0.0, 0.0, 0.0
        # A bin that has not settled leans towards its own frequency, the more the further away that is: the line through the
        # two loudest says where nothing would lean.
        loudest = near[np.argsort(np.abs(rotation[near]))[-2:]]
        level = np.abs(rotation[loudest]) + TINY
        nominal = self._framing.frequencies[loudest]
        turns = np.angle(rotation[loudest]) / (2 * math.pi)
        turns += np.round(nominal[-1] * self._hop_s - turns)  # whole turns: what is nearest to the loudest bin's own
        turns += np.round(turns[-1] - turns)
        frequency = np.maximum(1.0, turns / self._hop_s)
        away = 100.0 * (self._pitches[loudest] - pitch)
        deviations = 1200.0 * np.log2(frequency / nominal) + away
        lean = min(max(float((deviations[1] - deviations[0]) / (away[1] - away[0])), 0.0), MOST_LEAN)
        deviation = float(np.average(deviations - lean * away, weights=level)) / (1.0 - lean)
        if abs(deviation) > WIDEST_CENTS:
            return 0.0, 0.0, 0.0
        return deviation, float(level[-1]), float(self._trust[loudest[-1]])


class TuningFollower:
    """Finds the frequency of A4 in Hz for which the player's latest notes deviate by nothing, if they agree on one.

    The deviations are directions, a turn a semitone: their mean, and its length (Mardia & Jupp, Directional Statistics, 2000).
    """

    def __init__(self, a4_hz: float) -> None:
        """Have heard no note; stay near a tuning of A4 in Hz."""
        reach = 2 ** (FARTHEST_CENTS / 1200)
        self._lowest_hz, self._highest_hz = max(LOWEST_A4_HZ, a4_hz / reach), min(HIGHEST_A4_HZ, a4_hz * reach)
        self._turns: deque[complex] = deque(maxlen=NOTES)

    def hear(self, cents: float, a4_hz: float) -> float | None:
        """Where A4 should be after a note that deviated so much; None if it is well where it is."""
        self._turns.append(cmath.exp(2j * math.pi * cents / 100))
        mean = sum(self._turns) / NOTES
        deviation = 100 * cmath.phase(mean) / (2 * math.pi)
        if len(self._turns) < NOTES or abs(mean) < AGREEMENT or abs(deviation) < IN_TUNE_CENTS:
            return None
        found = min(self._highest_hz, max(self._lowest_hz, a4_hz * 2 ** (deviation / 1200)))
        self._turns.clear()
        return None if found == a4_hz else found
