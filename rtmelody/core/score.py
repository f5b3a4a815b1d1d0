"""Following a score: which of its notes a player has reached, and what was right, wrong, missed or extra on the way.

A Viterbi search over the places of the score. Every note that is played either is one of the score's, of the right pitch or a
wrong one, or is extra; between two of them notes may have been missed, or the player has gone back, or ahead. Each of these has
a price, and so has a duration that does not fit the tempo; the cheapest explanation of everything played so far is the place
where the player is now, and its history is the report (after Nakamura et al., "Real-time audio-to-score alignment of music
performances containing errors and arbitrary repeats and skips", 2016).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Prices; a wrong note must cost less than a missed and an extra one, a jump less than a few wrong ones.
WRONG, MISSED, EXTRA, JUMP = 1.1, 1.0, 1.4, 3.0
OCTAVE = 0.6  # right but for the octave
MOST_MISSED = 6  # in a row; more is a jump
RHYTHM = 0.5  # of a duration that is off by `OFF`; no duration costs more than `WORST_RHYTHM`
OFF = 0.4  # natural logarithm: a factor of 1.5
WORST_RHYTHM = 1.0
SLOWEST, FASTEST = 0.4, 2.5  # of the score's own tempo
LEARNING = 0.3  # how quickly the tempo follows the latest duration
SHORTEST_S = 0.02

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScoreNote:
    """A note that is expected: `onset` and `duration` in seconds at the score's own tempo, `pitch` a MIDI number."""

    onset: float
    duration: float
    pitch: int
    bar: int


class Follower:
    """Follows one player, note by note."""

    def __init__(self, score: Sequence[ScoreNote], remember: bool = True) -> None:
        """Wait for the first note; the score is in order of onsets. To `remember` is needed for an explanation only."""
        self._remember = remember
        self._onsets = np.array([note.onset for note in score])
        self._pitches = np.array([note.pitch for note in score])
        places = len(score) + 1  # the first one is before the score
        self._cost = np.full(places, JUMP)
        self._cost[0] = 0.0
        self._reached_at = np.full(places, np.nan)  # s of the performance at which each place's note was played
        self._tempo = np.ones(places)  # seconds played for a second of the score
        self._steps = np.zeros(places)  # durations that the tempo is known from
        self._history: list[tuple[NDArray[np.int64], NDArray[np.bool_]]] = []  # where each place was reached from; by an extra

    def hear(self, onset: float, pitch: int) -> int:
        """Take the next played note (s, MIDI number); the index of the score's note that is reached, -1 before the first."""
        came_from, cost, tempo, steps = self._matched(onset, pitch)
        extra = self._cost + EXTRA <= cost
        if self._remember:
            self._history.append((np.where(extra, np.arange(len(cost)), came_from), extra))
        self._cost = np.where(extra, self._cost + EXTRA, cost)
        self._tempo = np.where(extra, self._tempo, tempo)
        self._steps = np.where(extra, self._steps, steps)
        self._reached_at = np.where(extra, self._reached_at, onset)
        self._cost -= self._cost.min()
        return int(self._cost.argmin()) - 1

    def explanation(self) -> list[int | None]:
        """For each note played so far, the index of the score's note that it is meant to be; None if it is extra."""
        place = int(self._cost.argmin())
        found: list[int | None] = []
        for came_from, extra in reversed(self._history):
            found.append(None if extra[place] else place - 1)
            place = int(came_from[place])
        return found[::-1]

    def _matched(self, onset: float, pitch: int) -> tuple[NDArray[np.int64], Floats, Floats, Floats]:
        """For every place, if this note is its: the cheapest place before, the cost, and the tempo and its steps then."""
        places = len(self._cost)
        best = int(self._cost.argmin())
        came_from = np.full(places, best)
        cost = np.full(places, self._cost[best] + JUMP)
        # After a jump the tempo goes on, and the time until the next note says nothing.
        tempo, steps = np.full(places, self._tempo[best]), np.full(places, self._steps[best])
        for step in range(1, min(MOST_MISSED + 2, places)):
            before, after = slice(0, places - step), slice(step, places)
            error, ratio = self._rhythm(onset, before, after)
            through = self._cost[before] + MISSED * (step - 1) + error
            better = through < cost[after]
            came_from[after] = np.where(better, np.arange(places)[before], came_from[after])
            cost[after] = np.where(better, through, cost[after])
            known = better & np.isfinite(self._reached_at[before]) & (np.arange(places)[before] > 0)
            learnt = np.maximum(LEARNING, 1.0 / (self._steps[before] + 1.0))
            followed = np.clip(self._tempo[before] * ratio**learnt, SLOWEST, FASTEST)
            tempo[after] = np.where(better, np.where(known, followed, self._tempo[before]), tempo[after])
            steps[after] = np.where(better, self._steps[before] + known, steps[after])
        cost[1:] += self._pitch_price(pitch)
        cost[0] = np.inf  # no note of the score is there
        return came_from, cost, tempo, steps

    def _rhythm(self, onset: float, before: slice, after: slice) -> tuple[Floats, Floats]:
        """Price of the time since the note before, and by how much it is longer than expected."""
        written = self._onsets[after.start - 1 : after.stop - 1] - np.concatenate(([np.nan], self._onsets))[before]
        played = onset - self._reached_at[before]
        with np.errstate(invalid="ignore"):
            ratio = np.maximum(played, SHORTEST_S) / np.maximum(written * self._tempo[before], SHORTEST_S)
            off = np.log(ratio) / OFF
            sure = np.minimum(1.0, (self._steps[before] + 0.5) / 2.0)  # the first durations only tell the tempo
            price = np.minimum(WORST_RHYTHM, RHYTHM * off**2) * sure
        known = np.isfinite(ratio)
        return np.where(known, price, 0.0), np.where(known, ratio, 1.0)

    def _pitch_price(self, pitch: int) -> Floats:
        wrong = np.where((self._pitches - pitch) % 12 == 0, OCTAVE, WRONG)
        price: Floats = np.where(self._pitches == pitch, 0.0, wrong)
        return price
