"""Scoring on sounds that training never heard, by the time at which a note is *emitted*, never back-dated."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mido
import mir_eval
import numpy as np
from numpy.typing import NDArray

from rtmelody.config import Config
from rtmelody.core.network import Network
from rtmelody.core.recognizer import Recognizer
from rtmelody.events import Note, notes
from rtmelody.train.augment import HELD_OUT_LANGUAGES, make_babble
from rtmelody.train.sources import RATE, audio_files, fluidsynth, read_audio

# General MIDI programs (0-based) and the range that the melodies keep to.
INSTRUMENTS = {
    "piano": (0, 40, 96), "guitar": (24, 40, 84), "violin": (40, 55, 96), "cello": (42, 36, 72),
    "trumpet": (56, 55, 84), "saxophone": (65, 49, 80), "clarinet": (71, 50, 88), "flute": (73, 60, 96),
}  # fmt: skip
MELODY_NOTES = 8
SHORTEST_S, LONGEST_S = 0.15, 0.5
SEED = 99
NOISES = (("white", 10), ("babble", 10), ("babble", 0))  # and dB of the music above them
EARLY_S = 0.05  # annotations of real recordings lag or lead by up to this
BEFORE_S = 1.0  # mir_eval wants no times before zero

Table = dict[str, dict[str, dict[str, float]]]  # condition, group, figure


@dataclass(frozen=True, slots=True)
class Case:
    """A recording with its truth: audio [samples] at `rate`; `truth` [notes, 3]: onset s, offset s, MIDI number."""

    name: str
    group: str
    audio: NDArray[np.float32]
    rate: int
    truth: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Score:
    """What one case scored: counts that add up over cases, and latencies (s).

    `told`: of each emitted note its confidence, and whether it is right.
    """

    right: int
    emitted: int
    true: int
    exact: bool
    latencies: tuple[float, ...]
    told: tuple[tuple[float, bool], ...]


def rendered_melodies(
    soundfont: Path, per_instrument: int, seed: int, lengths: tuple[float, float] = (SHORTEST_S, LONGEST_S)
) -> Iterator[Case]:
    """Random melodies of eight notes, of a length (s) in that range, on eight instruments, rendered dry by fluidsynth."""
    for place, (instrument, (program, lowest, highest)) in enumerate(INSTRUMENTS.items()):
        for number in range(per_instrument):
            rng = np.random.default_rng((seed, place, number))
            truth = _random_melody(rng, lowest, highest, lengths)
            audio = _perform(soundfont, program, truth, rng.integers(60, 120, len(truth)))
            yield Case(f"{instrument}-{number}", instrument, audio, RATE, truth)


def with_noise(case: Case, noise: NDArray[np.float32], snr_db: float) -> Case:
    """The case with a noise that many dB below the music's power while notes sound."""
    sounding = np.zeros(len(case.audio), bool)
    for onset, offset, _ in case.truth:
        sounding[round(onset * case.rate) : round(offset * case.rate)] = True
    bed = np.resize(noise, len(case.audio))
    gain = np.sqrt(np.mean(case.audio[sounding] ** 2) / np.mean(bed**2)) * 10 ** (-snr_db / 20)
    return Case(case.name, case.group, case.audio + (gain * bed).astype(np.float32), case.rate, case.truth)


def held_out(soundfont: Path, network: Network, config: Config, per_instrument: int = 10) -> Iterator[tuple[str, str, Score]]:
    """Score rendered melodies clean and in noise (NOISES): (condition, instrument, score) one by one.

    Babble is four to seven voices in languages that training never heard.

    Without espeak-ng there is no babble, and none is reported.
    """
    sounds = {"white": [np.random.default_rng(SEED).standard_normal(10 * RATE).astype(np.float32)]}
    with TemporaryDirectory() as folder:
        list(make_babble(Path(folder), 6, SEED, HELD_OUT_LANGUAGES, fewest=4))
        sounds["babble"] = [read_audio(path) for path in audio_files(Path(folder))]
    noises = [(f"{kind} {level_db} dB", sounds[kind], level_db) for kind, level_db in NOISES if sounds[kind]]
    for number, case in enumerate(rendered_melodies(soundfont, per_instrument, SEED)):
        yield "clean", case.group, score(case, recognize(case, network, config))
        for condition, choice, level_db in noises:
            noisy = with_noise(case, choice[number % len(choice)], level_db)
            yield condition, case.group, score(case, recognize(noisy, network, config))


def tables(scores: Iterable[tuple[str, str, Score]]) -> Table:
    """Summaries by condition and group, with the group "all"."""
    table: dict[str, dict[str, list[Score]]] = {}
    for condition, group, one in scores:
        for name in ("all", group):
            table.setdefault(condition, {}).setdefault(name, []).append(one)
    return {condition: {name: summary(ones) for name, ones in groups.items()} for condition, groups in table.items()}


def recognize(case: Case, network: Network, config: Config) -> list[Note]:
    """What rtmelody makes of a case."""
    recognizer = Recognizer(case.rate, config, network)
    return notes(recognizer.push(case.audio) + recognizer.flush(), case.rate)


def score(case: Case, found: list[Note], tolerance_s: float = 0.1) -> Score:
    """Right are notes of the true pitch that are emitted in time; latencies are those of the notes with a right onset."""
    emitted = sorted(found, key=lambda note: note.emitted_at)
    told_at, begun_at, pitches = np.array([(note.emitted_at, note.onset, note.midi) for note in emitted]).reshape(-1, 3).T
    right = {place for _, place in match_live(case.truth, told_at, pitches, tolerance_s)}
    begun = match(case.truth, begun_at, pitches, 0.1)
    return Score(
        right=len(right),
        emitted=len(emitted),
        true=len(case.truth),
        exact=[note.midi for note in emitted] == np.rint(case.truth[:, 2]).tolist(),
        latencies=tuple(float(told_at[found] - case.truth[true, 0]) for true, found in begun),
        told=tuple((note.confidence, place in right) for place, note in enumerate(emitted)),
    )


def match_live(truth: NDArray[np.float64], emitted: NDArray, midi: NDArray, tolerance_s: float) -> list[tuple[int, int]]:
    """(true, found) pairs of notes that are emitted from EARLY_S before to `tolerance_s` after the true onset.

    mir_eval's tolerance is symmetric, so times are shifted to the middle of that window.
    """
    return match(truth, emitted - (tolerance_s - EARLY_S) / 2, midi, (tolerance_s + EARLY_S) / 2)


def match(
    truth: NDArray[np.float64], times: NDArray, midi: NDArray, tolerance_s: float, ends: NDArray | None = None
) -> list[tuple[int, int]]:
    """(true, found) pairs by pitch and time (s), and offset within a fifth of the note (at least 50 ms) where `ends` are given.

    `truth` [notes, 3]: onset s, offset s, MIDI number. Each note is matched once (mir_eval).
    """
    if not len(truth) or not len(times):
        return []
    until = times + 0.1 if ends is None else np.maximum(ends, times + 0.01)
    matches = mir_eval.transcription.match_notes(
        np.column_stack((truth[:, 0], np.maximum(truth[:, 1], truth[:, 0] + 0.01))) + BEFORE_S,
        mir_eval.util.midi_to_hz(truth[:, 2]),
        np.column_stack((times, until)) + BEFORE_S, mir_eval.util.midi_to_hz(np.rint(midi)),
        onset_tolerance=tolerance_s, pitch_tolerance=50.0, offset_ratio=None if ends is None else 0.2,
    )  # fmt: skip
    return [(int(true), int(found)) for true, found in matches]


def summary(scores: list[Score]) -> dict[str, float]:
    """F1, precision, recall, share of melodies named without a mistake, and latency quantiles in milliseconds."""
    right = sum(one.right for one in scores)
    emitted, true = sum(one.emitted for one in scores), sum(one.true for one in scores)
    latencies = np.array([latency for one in scores for latency in one.latencies]) * 1000
    median, late = np.percentile(latencies, (50, 90)) if len(latencies) else (np.nan, np.nan)
    return {
        "f1": round(2 * right / max(1, emitted + true), 4),
        "precision": round(right / max(1, emitted), 4),
        "recall": round(right / max(1, true), 4),
        "exact": round(sum(one.exact for one in scores) / max(1, len(scores)), 4),
        "latency_p50_ms": round(float(median), 1),
        "latency_p90_ms": round(float(late), 1),
    }


def _random_melody(rng: np.random.Generator, lowest: int, highest: int, lengths: tuple[float, float]) -> NDArray[np.float64]:
    """Truth [notes, 3] of a melody within two octaves, with leaps and repeated notes."""
    base = int(rng.integers(lowest, max(lowest + 1, highest - 24)))
    top = min(highest, base + 24)
    pitch, clock, rows = int(rng.integers(base, top + 1)), 0.3, []
    for _ in range(MELODY_NOTES):
        length = rng.uniform(*lengths)
        rows.append((clock, clock + length, pitch))
        clock += length + rng.choice((0.0, 0.02, 0.1))
        pitch = int(np.clip(pitch + rng.choice((-12, -7, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 7, 12)), base, top))
    return np.array(rows)


def _perform(soundfont: Path, program: int, truth: NDArray[np.float64], velocities: NDArray[np.int64]) -> NDArray[np.float32]:
    """Render a melody, with half a second to ring out."""
    tempo_ticks = 960  # a second, at mido's default of 480 ticks a beat and 120 beats a minute
    messages = [(0.0, mido.Message("program_change", program=program))]
    for (onset, offset, pitch), velocity in zip(truth, velocities, strict=True):
        messages.append((onset, mido.Message("note_on", note=int(pitch), velocity=int(velocity))))
        messages.append((offset, mido.Message("note_off", note=int(pitch))))
    messages.sort(key=lambda timed: (timed[0], timed[1].type == "note_on"))
    track, clock = mido.MidiTrack(), 0
    for time, message in [*messages, (truth[-1, 1] + 0.5, mido.MetaMessage("end_of_track"))]:
        track.append(message.copy(time=round(time * tempo_ticks) - clock))
        clock = round(time * tempo_ticks)
    with TemporaryDirectory() as folder:
        score_path, sound = Path(folder, "melody.mid"), Path(folder, "melody.wav")
        mido.MidiFile(tracks=[track]).save(score_path)
        fluidsynth(soundfont, score_path, sound)
        return read_audio(sound)
