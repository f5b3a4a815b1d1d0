"""What a performance was like against its score: right, wrong, missed and extra notes, their timing and tuning, bar by bar."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from rtmelody.core.score import MOST_MISSED, Follower, ScoreNote
from rtmelody.events import Note

Kind = Literal["right", "wrong", "missed", "extra"]
KINDS: tuple[Kind, ...] = ("right", "wrong", "missed", "extra")
AROUND = 4  # notes on either side that say what the tempo was
UNREACHED = 3  # notes after the last one that was played; more, and the player stopped there


class Verdict(msgspec.Struct, frozen=True):
    """What became of a note, played or expected. Times in seconds of the performance; None where there is nothing to say."""

    kind: Kind
    bar: int | None
    expected: int | None  # MIDI numbers
    played: int | None
    onset: float | None
    late: float | None  # against the tempo around it; early if negative
    cents: float | None


class Bar(msgspec.Struct, frozen=True):
    """One bar, in all its repetitions."""

    number: int
    right: int
    wrong: int
    missed: int
    extra: int
    tempo: float | None  # of the score's own: 1.1 is a tenth faster
    late: float | None  # mean distance from the tempo around, s
    cents: float | None  # mean


class Assessment(msgspec.Struct, frozen=True):
    """All of it. `reached`: notes of the score until the last that was met; `jumps`: times that the player moved elsewhere."""

    notes: int
    reached: int
    jumps: int
    right: int
    wrong: int
    missed: int
    extra: int
    verdicts: list[Verdict]
    bars: list[Bar]


@dataclass(frozen=True, slots=True)
class _Met:
    """A note of the score that was played, right or wrong."""

    expected: int  # index
    note: Note
    late: float | None = None
    tempo: float | None = None


def assess(score: Sequence[ScoreNote], played: Sequence[Note]) -> Assessment:
    """Compare; both are in the order of their onsets."""
    follower = Follower(score)
    for note in played:
        follower.hear(note.onset, note.midi)
    places = follower.explanation()
    met = _timed(score, [_Met(place, note) for place, note in zip(places, played, strict=True) if place is not None])
    verdicts, jumps = _verdicts(score, played, places, {id(one.note): one for one in met})
    counts = {kind: sum(verdict.kind == kind for verdict in verdicts) for kind in KINDS}
    reached = 1 + max((one.expected for one in met), default=-1)
    return Assessment(len(score), reached, jumps, **counts, verdicts=verdicts, bars=_bars(score, verdicts, met))


def _verdicts(
    score: Sequence[ScoreNote], played: Sequence[Note], places: Sequence[int | None], met: dict[int, _Met]
) -> tuple[list[Verdict], int]:
    """In the order of the performance; and how often the player jumped."""
    verdicts: list[Verdict] = []
    jumps, before = 0, -1
    for note, place in zip(played, places, strict=True):
        if place is None:
            bar = score[before].bar if before >= 0 else None
            verdicts.append(Verdict("extra", bar, None, note.midi, note.onset, None, note.cents))
            continue
        if before < place <= before + 1 + MOST_MISSED:
            verdicts += _missed(score, before + 1, place)
        else:
            jumps += 1
        kind: Kind = "right" if score[place].pitch == note.midi else "wrong"
        late = met[id(note)].late
        verdicts.append(Verdict(kind, score[place].bar, score[place].pitch, note.midi, note.onset, late, note.cents))
        before = place
    if before >= 0 and len(score) - 1 - before <= UNREACHED:
        verdicts += _missed(score, before + 1, len(score))
    return verdicts, jumps


def _missed(score: Sequence[ScoreNote], first: int, end: int) -> list[Verdict]:
    return [Verdict("missed", note.bar, note.pitch, None, None, None, None) for note in score[first:end]]


def _timed(score: Sequence[ScoreNote], met: list[_Met]) -> list[_Met]:
    """Each with its distance from a straight line through the notes around it, and that line's tempo."""
    found = []
    for place, one in enumerate(met):
        around = [(score[other.expected].onset, other.note.onset) for other in _around(met, place)]
        written, heard = np.array(around).T if around else (np.zeros(0), np.zeros(0))
        if len(around) < 3 or np.ptp(written) <= 0:  # noqa: PLR2004 (two points lie on any line)
            found.append(one)
            continue
        slope, offset = np.polyfit(written, heard, 1)
        late = one.note.onset - (slope * score[one.expected].onset + offset)
        found.append(_Met(one.expected, one.note, round(float(late), 4), round(1.0 / slope, 3) if slope > 0 else None))
    return found


def _around(met: list[_Met], place: int) -> list[_Met]:
    """The notes before and after one, as far as the player did not jump."""
    found: list[_Met] = []
    for step in (-1, 1):
        last = met[place]
        for other in met[place + step :: step][:AROUND] if place + step >= 0 else []:
            if not 0 < step * (other.expected - last.expected) <= MOST_MISSED + 1:
                break
            found.append(other)
            last = other
    return found


def _bars(score: Sequence[ScoreNote], verdicts: Sequence[Verdict], met: Sequence[_Met]) -> list[Bar]:
    bars = []
    for number in sorted({note.bar for note in score}):
        these = [verdict for verdict in verdicts if verdict.bar == number]
        tempi = [one.tempo for one in met if score[one.expected].bar == number and one.tempo is not None]
        counts = {kind: sum(verdict.kind == kind for verdict in these) for kind in KINDS}
        late = [abs(verdict.late) for verdict in these if verdict.late is not None]
        cents = [verdict.cents for verdict in these if verdict.kind == "right" and verdict.cents is not None]
        bars.append(Bar(number, **counts, tempo=_mean(tempi, 3), late=_mean(late, 4), cents=_mean(cents, 1)))
    return bars


def _mean(values: list[float], digits: int) -> float | None:
    return round(float(np.mean(values)), digits) if values else None
