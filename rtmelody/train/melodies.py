"""Note sequences to render: random walks, folk-like tunes on a scale, and real tunes where a collection is at hand.

A sequence is a list of `Planned` notes, monophonic but for legato overlaps, with times in seconds.
"""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rtmelody.errors import TrainingError

SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 2, 3, 5, 7, 9, 10))
# Note lengths in beats, as folk tunes use them.
RHYTHMS = ((1.0,), (0.5, 0.5), (1.5, 0.5), (0.5, 0.25, 0.25), (2.0,), (1 / 3, 1 / 3, 1 / 3), (0.25,) * 4)


@dataclass(frozen=True, slots=True)
class Planned:
    """A note to play: start and duration in seconds, MIDI pitch, loudness 0…1."""

    start: float
    duration: float
    pitch: int
    loudness: float


@dataclass(frozen=True, slots=True)
class Tune:
    """A sequence of (pitch, duration in beats)."""

    notes: tuple[tuple[int, float], ...]


def load_tunes(path: Path) -> list[Tune]:
    """Tunes from a gzipped JSON collection: {"tunes": [{"notes": [[midi, start, duration in beats], …]}, …]}.

    Raises TrainingError for anything else.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            tunes = json.load(file)["tunes"]
        return [Tune(tuple((int(midi), float(beats)) for midi, _, beats in tune["notes"])) for tune in tunes if tune["notes"]]
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path} is no collection of tunes ({error}): make it anew, or leave it out.") from error


def interval_shares(tunes: list[Tune], reach: int) -> tuple[float, ...]:
    """How often tunes move by -reach … reach semitones, as shares that sum to 1; none without tunes."""
    counts = np.zeros(2 * reach + 1)
    for tune in tunes:
        steps = np.diff([pitch for pitch, _ in tune.notes])
        np.add.at(counts, steps[np.abs(steps) <= reach] + reach, 1)
    return tuple(round(float(share), 5) for share in counts / max(1.0, counts.sum())) if tunes else ()


def compose(rng: np.random.Generator, seconds: float, lowest: int, highest: int, tunes: list[Tune]) -> list[Planned]:
    """A sequence that fills `seconds`, within [lowest, highest]."""
    kind = rng.choice(("walk", "folk", "tune" if tunes else "folk"), p=(0.5, 0.25, 0.25))
    if kind == "walk":
        steps = _random_walk(rng, lowest, highest)
    elif kind == "folk":
        steps = _folk_like(rng, lowest, highest)
    else:
        steps = _excerpt(rng, tunes[rng.integers(len(tunes))], lowest, highest)
    return _perform(rng, steps, seconds)


def _random_walk(rng: np.random.Generator, lowest: int, highest: int, length: int = 60) -> list[tuple[int, float]]:
    """Steps, leaps, octaves and repeated notes; lengths drawn freely."""
    pitch = int(rng.integers(lowest, highest + 1))
    repeated = rng.choice((0.2, 0.65))
    steps = []
    for _ in range(length):
        steps.append((pitch, float(rng.choice((0.25, 0.5, 0.5, 1.0, 1.0, 1.5)))))
        moves = (rng.integers(-3, 4), rng.integers(-9, 10), rng.choice((-12, 12)), 99)
        move = 0 if rng.random() < repeated else rng.choice(moves, p=(0.46, 0.34, 0.08, 0.12))
        pitch = int(rng.integers(lowest, highest + 1)) if move == 99 else _fold(pitch + int(move), lowest, highest)
    return steps


def _folk_like(rng: np.random.Generator, lowest: int, highest: int) -> list[tuple[int, float]]:
    """Small steps along a scale in ordinary rhythms."""
    scale = SCALES[rng.integers(len(SCALES))]
    tonic = int(rng.integers(12))
    ladder = [p for p in range(lowest, highest + 1) if (p - tonic) % 12 in scale]
    place = int(rng.integers(len(ladder)))
    steps = []
    for _ in range(30):
        for beats in RHYTHMS[rng.integers(len(RHYTHMS))]:
            steps.append((ladder[place], beats))
            place = int(
                np.clip(
                    place + rng.choice((-4, -2, -1, 0, 1, 2, 4), p=(0.06, 0.14, 0.28, 0.1, 0.24, 0.12, 0.06)),
                    0,
                    len(ladder) - 1,
                )
            )
    return steps


def _excerpt(rng: np.random.Generator, tune: Tune, lowest: int, highest: int) -> list[tuple[int, float]]:
    """A tune from a random place on, in a random key."""
    first = int(rng.integers(max(1, len(tune.notes) - 8)))
    pitches = [pitch for pitch, _ in tune.notes]
    low, high = lowest - min(pitches), highest - max(pitches)
    key = int(rng.integers(low, high + 1)) if low <= high else low
    return [(_fold(pitch + key, lowest, highest), beats) for pitch, beats in tune.notes[first:]]


def _fold(pitch: int, lowest: int, highest: int) -> int:
    """The pitch, moved by octaves into the range (or to its end, should no octave fit)."""
    while pitch < lowest:
        pitch += 12
    while pitch > highest:
        pitch -= 12
    return max(pitch, lowest)


def _ornamented(rng: np.random.Generator, steps: list[tuple[int, float]], beat: float) -> Iterator[tuple[int, float]]:
    """Now and then with a grace note, which takes its 60 to 100 ms from a long note."""
    share = rng.choice((0.0, 0.15), p=(0.8, 0.2))
    pitches = [pitch for pitch, _ in steps]
    for pitch, beats in steps:
        grace = rng.uniform(0.06, 0.1) / beat
        if beats > 3 * grace and rng.random() < share:
            yield _fold(pitch + int(rng.choice((-2, -1, 1, 2))), min(pitches), max(pitches)), grace
            beats -= grace  # noqa: PLW2901
        yield pitch, beats


def _perform(rng: np.random.Generator, steps: list[tuple[int, float]], seconds: float) -> list[Planned]:
    """Give a sequence its tempo, articulation, loudness and rests."""
    beat = float(np.exp(rng.uniform(np.log(0.18), np.log(0.9))))
    articulation = rng.choice((rng.uniform(0.35, 0.8), rng.uniform(0.8, 1.0), 1.0, 1.03), p=(0.2, 0.35, 0.25, 0.2))
    rest_share = rng.choice((0.0, 0.08, 0.3))
    loudness = rng.uniform(0.4, 1.0)
    # What was there before a melody goes on after it.
    clock, seconds = rng.choice((0.0, rng.uniform(0.0, 0.6))), seconds * rng.choice((1.0, rng.uniform(0.3, 1.0)))
    performance = []
    for pitch, beats in _ornamented(rng, steps, beat):
        length = max(0.06, beats * beat * rng.uniform(0.92, 1.08))
        if rng.random() < rest_share:
            clock += length
        if clock >= seconds - 0.06:
            break
        played = max(0.05, length * articulation * rng.uniform(0.95, 1.05))
        level = float(np.clip(loudness * 10 ** (rng.normal(0, 3) / 20), 0.05, 1.0))
        performance.append(Planned(float(clock), float(played), pitch, level))
        clock += length
    return performance
