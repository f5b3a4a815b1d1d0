"""Scores from files: MIDI through mido; MusicXML and ABC through music21, with their repeats written out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mido

from rtmelody.core.score import ScoreNote
from rtmelody.errors import ScoreError

MIDI = {".mid", ".midi", ".smf"}
OTHERS = {".abc", ".xml", ".musicxml", ".mxl"}
DRUMS = 9  # the channel whose notes are no pitches, counted from 0
TOGETHER_S = 0.03  # notes that begin within so much are a chord; its highest one is the melody's


def read_score(path: Path) -> list[ScoreNote]:
    """The melody of a score: of notes that begin together the highest; in the order of their onsets. Of a tunebook the first.

    Raises ScoreError if there is no such file, or no melody in it.
    """
    if not path.is_file():
        raise ScoreError(f"There is no score {path}.")
    kind = path.suffix.lower()
    if kind not in MIDI | OTHERS:
        raise ScoreError(
            f"{path.name} is no score that can be read: give MIDI (.mid), MusicXML (.musicxml, .mxl) or ABC (.abc)."
        )
    found = sorted(_of_midi(path) if kind in MIDI else _by_music21(path), key=lambda note: (note.onset, note.pitch))
    if not found:
        raise ScoreError(f"There is no note in {path.name}.")
    return _melody(found)


def _melody(found: list[ScoreNote]) -> list[ScoreNote]:
    """The highest of those that begin together."""
    melody = found[:1]
    for note in found[1:]:
        if note.onset - melody[-1].onset < TOGETHER_S:
            melody[-1] = max(melody[-1], note, key=lambda one: one.pitch)
        else:
            melody.append(note)
    return melody


def _opened(path: Path) -> tuple[mido.MidiFile, mido.MidiTrack]:
    """A MIDI file, and its messages in their order."""
    try:
        file = mido.MidiFile(path)
        messages = mido.merge_tracks(file.tracks)
    except Exception as error:  # mido raises whatever it stumbles over
        raise ScoreError(f"{path.name} is no MIDI file ({error}).") from error
    if file.ticks_per_beat <= 0:
        raise ScoreError(f"{path.name} does not count in beats: export it again.")
    return file, messages


def _of_midi(path: Path) -> Iterator[ScoreNote]:
    file, messages = _opened(path)
    tempo, seconds, ticks = 500_000, 0.0, 0
    bar_ticks, bar_began, bars = 4.0 * file.ticks_per_beat, 0.0, 1
    begun: dict[tuple[int, int], tuple[float, int]] = {}
    for message in messages:
        seconds += mido.tick2second(message.time, file.ticks_per_beat, tempo)
        ticks += message.time
        if message.type == "set_tempo":
            tempo = message.tempo
        elif message.type == "time_signature" and message.numerator:
            bars += round((ticks - bar_began) / bar_ticks)
            bar_began, bar_ticks = ticks, 4.0 * file.ticks_per_beat * message.numerator / message.denominator
        elif getattr(message, "channel", None) == DRUMS:
            continue
        elif message.type == "note_on" and message.velocity:
            if before := begun.get((message.channel, message.note)):
                yield ScoreNote(before[0], seconds - before[0], message.note, before[1])
            begun[message.channel, message.note] = seconds, bars + int((ticks - bar_began) // bar_ticks)
        elif message.type in ("note_on", "note_off") and (message.channel, message.note) in begun:
            onset, bar = begun.pop((message.channel, message.note))
            yield ScoreNote(onset, seconds - onset, message.note, bar)
    for (_, pitch), (onset, bar) in begun.items():  # what nothing ends, the end does
        yield ScoreNote(onset, seconds - onset, pitch, bar)


def _by_music21(path: Path) -> Iterator[ScoreNote]:
    try:
        import music21

        parsed: Any = music21.converter.parse(path, forceSource=True)
        if isinstance(parsed, music21.stream.Opus):  # a tunebook
            parsed = parsed.scores[0]
        part = next(iter(parsed.parts), parsed).toSoundingPitch()  # a clarinet's D sounds as C
        uncounted = _begins_with_bar_0(part)
        entries: list[dict[str, Any]] = _written_out(part).stripTies().flatten().secondsMap
    except ImportError as error:
        raise ScoreError("MusicXML and ABC need music21: run `pip install 'rtmelody[monitor]'`, or export MIDI.") from error
    except Exception as error:  # its parsers raise whatever they stumble over
        raise ScoreError(f"{path.name} cannot be read as a score ({type(error).__name__}: {error}).") from error
    for entry in entries:
        element = entry["element"]
        if element.duration.isGrace or isinstance(element, music21.harmony.Harmony):
            continue  # a grace note has its time from another note, which would seem to be a chord with it
        if isinstance(element, music21.note.NotRest) and element.pitches:
            pitch = max(one.midi for one in element.pitches)
            bar = 1 if element.measureNumber is None else element.measureNumber + uncounted
            yield ScoreNote(entry["offsetSeconds"], entry["durationSeconds"], pitch, bar)


def _begins_with_bar_0(part: Any) -> bool:
    """Whether a full bar is numbered 0, as music21 counts some ABC tunes; a pickup may be."""
    first = part.getElementsByClass("Measure").first()
    return first is not None and first.number == 0 and first.duration.quarterLength >= first.barDuration.quarterLength


def _written_out(part: Any) -> Any:
    """With repeats as often as they are played; as it stands if they make no sense."""
    import music21

    try:
        return part.expandRepeats()
    except music21.exceptions21.Music21Exception:
        return part
