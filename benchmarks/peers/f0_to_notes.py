"""The rule that turns a stream of f0 estimates into notes: one for all peers that give f0 only, live, and generous.

A pitch that is held for HOLD_S becomes a note, emitted when the frame that completes the hold is available. A note keeps
sounding while f0 stays within HYSTERESIS of it (vibrato), and ends when it has been unvoiced for RELEASE_S or another pitch
has been held. A steep rise of the level strikes the same note again: f0 alone cannot tell a repeated note. The constants are
those of a small grid that gave the peers their best live F1 on melodies rendered with FluidR3_GM, on which nobody is judged.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

HOLD_S = 0.025
RELEASE_S = 0.050
HYSTERESIS = 0.7  # semitones
STRIKE_DB = 6.0  # over STRIKE_S
STRIKE_S = 0.030
REFRACTORY_S = 0.110


@dataclass(frozen=True, slots=True)
class Frame:
    """One estimate: the time (s) that it speaks of, when it is available (s), f0 in Hz (None: unvoiced), confidence 0…1."""

    time: float
    available: float
    f0: float | None
    confidence: float


def segment(frames: Iterable[Frame], audio: np.ndarray, rate: int) -> Iterator[tuple[float, float, int, float, float]]:
    """Notes as the harness wants them: onset s, offset s, MIDI number, emitted_at s, confidence."""
    sounding: tuple[float, int, float, float] | None = None  # onset, pitch, emitted_at, confidence
    heard = 0.0  # when it was last heard
    candidate: int | None = None  # a pitch that is being held, since `since`: another one, or the same one struck again
    since = 0.0
    for frame in frames:
        pitch = None if not frame.f0 else 69 + 12 * np.log2(frame.f0 / 440)
        key = None if pitch is None else round(float(pitch))
        if sounding and pitch is not None and abs(pitch - sounding[1]) <= HYSTERESIS:
            key, heard = sounding[1], frame.time
            rises = frame.time - sounding[0] >= REFRACTORY_S and _rise_db(audio, rate, frame.time) >= STRIKE_DB
            if key != candidate and not rises:
                candidate = None
                continue
        if key != candidate:
            candidate, since = key, frame.time
        if candidate is not None and frame.time - since >= HOLD_S:
            if sounding:
                yield _ended(sounding, since)
            sounding, heard, candidate = (since, candidate, frame.available, frame.confidence), frame.time, None
        elif sounding and frame.time - heard >= RELEASE_S:
            yield _ended(sounding, heard)
            sounding = None
    if sounding:
        yield _ended(sounding, heard)


def _ended(note: tuple[float, int, float, float], offset: float) -> tuple[float, float, int, float, float]:
    onset, pitch, emitted, confidence = note
    return onset, max(offset, onset + 0.01), pitch, emitted, confidence


def _rise_db(audio: np.ndarray, rate: int, time: float) -> float:
    """How much the level of 20 ms rose within STRIKE_S, up to `time`."""
    return _level_db(audio, rate, time) - _level_db(audio, rate, time - STRIKE_S)


def _level_db(audio: np.ndarray, rate: int, time: float) -> float:
    stretch = audio[max(0, round((time - 0.02) * rate)) : max(1, round(time * rate))]
    return float(10 * np.log10(np.mean(stretch**2) + 1e-8)) if len(stretch) else -80.0
