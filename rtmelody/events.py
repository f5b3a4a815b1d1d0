"""What flows through rtmelody: posteriors into the tracker, note events out of it, notes into files."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from rtmelody.timebase import seconds

NOTE_NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")


class Posterior(msgspec.Struct, frozen=True, eq=False):
    """What the network believes about one hop.

    `at`: sample index of the end of the hop; `classes`: float32 [pitches + 1], probabilities that sum to 1, silence last;
    `onset`: float32 [pitches], probability 0…1 that the pitch was struck within the last 40 ms; `level_db`: of the loudest bin,
    dB relative to a full-scale sine.
    """

    at: int
    classes: NDArray[np.float32]
    onset: NDArray[np.float32]
    level_db: float


@dataclass(frozen=True, slots=True)
class NoteOn:
    """A note was recognized.

    `at`: sample index of the decision; `onset`: sample index at which the note is estimated to have begun, never after `at`;
    `pitch`: MIDI number; `velocity`: 1…127; `confidence`: 0…1; `cents`: deviation from the pitch, -100…100, as
    far as it can be heard by then.
    """

    at: int
    pitch: int
    velocity: int
    onset: int
    confidence: float
    cents: float


@dataclass(frozen=True, slots=True)
class NoteOff:
    """The note of this pitch ended; there is exactly one for every NoteOn, never before it."""

    at: int
    pitch: int


Event = NoteOn | NoteOff
Fate = Literal["announced", "confirmed", "corrected", "retracted"]


@dataclass(frozen=True, slots=True)
class Provisional:
    """News, at sample `at`, of a note of this pitch that is not certain yet: for whoever watches. MIDI gets what is certain."""

    at: int
    pitch: int
    fate: Fate


class ToldOn(msgspec.Struct, frozen=True, tag_field="event", tag="on"):
    """A NoteOn for those who know no samples: times in seconds of the session."""

    at: float
    midi: int
    velocity: int
    onset: float
    confidence: float
    cents: float


class ToldOff(msgspec.Struct, frozen=True, tag_field="event", tag="off"):
    """Likewise a NoteOff."""

    at: float
    midi: int


class ToldProvisional(msgspec.Struct, frozen=True, tag_field="event", tag="provisional"):
    """Likewise news of a note that is not certain yet."""

    at: float
    midi: int
    fate: Fate


Told = ToldOn | ToldOff
ToldAll = Told | ToldProvisional


@overload
def told(event: Event, sample_rate: float, since_s: float = 0.0) -> Told: ...


@overload
def told(event: Provisional, sample_rate: float, since_s: float = 0.0) -> ToldProvisional: ...


def told(event: Event | Provisional, sample_rate: float, since_s: float = 0.0) -> ToldAll:
    """An event of a stream that began `since_s` seconds into the session, rounded to what the numbers are worth."""
    at = round(since_s + seconds(event.at, sample_rate), 4)
    if isinstance(event, Provisional):
        return ToldProvisional(at, event.pitch, event.fate)
    if isinstance(event, NoteOff):
        return ToldOff(at, event.pitch)
    onset = round(since_s + seconds(event.onset, sample_rate), 4)
    return ToldOn(at, event.pitch, event.velocity, onset, round(event.confidence, 3), round(event.cents, 1))


def began(event: Event) -> int:
    """Sample index of what an event tells: a note's onset, or its end."""
    return event.onset if isinstance(event, NoteOn) else event.at


@dataclass(frozen=True, slots=True)
class Note:
    """A finished note for files and tables; all times in seconds."""

    onset: float
    offset: float
    midi: int
    velocity: int
    confidence: float
    cents: float
    emitted_at: float


def notes(events: Iterable[Event], sample_rate: float) -> list[Note]:
    """The notes of a whole stream's events, in order and complete (after `flush`)."""
    return finished(told(event, sample_rate) for event in events)


def finished(events: Iterable[Told]) -> list[Note]:
    """Pair beginnings with ends; a note whose end is not told is left out.

    Since the next note's onset is estimated backwards from its emission, it may lie before this one's end: the note then ends
    where the next begins, as it did in the room. Notes never overlap, and last a millisecond at least.
    """
    pairs: list[tuple[ToldOn, float]] = []
    for event in events:
        if pairs:
            on, end = pairs[-1]
            pairs[-1] = (on, min(end, event.onset if isinstance(event, ToldOn) else event.at))
        if isinstance(event, ToldOn):
            pairs.append((event, math.inf))
    return [
        Note(on.onset, max(on.onset + 0.001, end), on.midi, on.velocity, on.confidence, on.cents, on.at)
        for on, end in pairs
        if end < math.inf
    ]


def note_name(midi: int) -> str:
    """Scientific pitch name of a MIDI number: 60 is C4."""
    return f"{NOTE_NAMES[midi % 12]}{midi // 12 - 1}"
