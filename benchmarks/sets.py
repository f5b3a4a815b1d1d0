"""What everybody is judged on: rendered melodies with exact truth, real recordings where there are any, noise alone.

A trial is a case under a condition ("white 10 dB", "kitchen"). All of it is deterministic, and belongs to evaluation alone:
TimGM6mb, languages and seeds that training never sees.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from rtmelody.train import evaluate
from rtmelody.train.augment import HELD_OUT_LANGUAGES, coloured_noise, in_room, make_babble
from rtmelody.train.sources import RATE, audio_files, read_audio

HELD_OUT = Path("/usr/share/sounds/sf2/TimGM6mb.sf2")
SEED = evaluate.SEED
CLEAN = "clean"
NOTHING = np.zeros((0, 3))
NOISE_S = 15.0
QUICK_LEVELS, FULL_LEVELS = (10,), (20, 10, 5, 0)


@dataclass(frozen=True, slots=True)
class Trial:
    """One clip to transcribe; `doubtful` [notes, 3] are annotations that nobody is sure of, and count neither way."""

    set: str  # melodies, fast, recordings, noise alone
    condition: str
    case: evaluate.Case
    doubtful: np.ndarray = field(default_factory=NOTHING.copy)

    @property
    def name(self) -> str:
        """Unique among trials, and fit for a file."""
        return f"{self.set}_{self.condition}_{self.case.name}".replace(" ", "-").replace("/", "-")


def trials(recordings: Path | None, *, full: bool) -> Iterator[Trial]:
    """All of them. Noisy conditions take the first melodies of each instrument only."""
    many, some = (10, 2) if full else (2, 2)
    melodies = list(evaluate.rendered_melodies(HELD_OUT, many, SEED))
    fast = list(evaluate.rendered_melodies(HELD_OUT, some, SEED + 1, lengths=(0.07, 0.15)))
    noises = _noises(recordings)
    yield from (Trial("melodies", CLEAN, case) for case in melodies)
    yield from (Trial("fast", CLEAN, case) for case in fast)
    yield from _in_noise("melodies", [case for case in melodies if _number(case) < some], noises, full=full)
    if recordings:
        yield from _recorded(recordings, noises["real"], full=full)
        if full:
            rooms = audio_files(recordings / "rir")
            for case, room in ((case, room) for room in rooms for case in melodies if _number(case) < some):
                yield Trial("melodies", f"room {_short(room)}", _in_room(case, room))
    for name, sounds in (noises | {"silence": [np.zeros(RATE, np.float32)]}).items():
        for number, sound in enumerate(sounds):
            yield Trial("noise alone", name, _alone(f"{name}-{number}", sound))


def _in_noise(
    name: str,
    cases: list[evaluate.Case],
    noises: dict[str, list[np.ndarray]],
    *,
    full: bool,
    doubtful: list[np.ndarray] | None = None,
) -> Iterator[Trial]:
    """Every case in every noise at every level."""
    for kind, sounds in noises.items():
        for level in FULL_LEVELS if full else QUICK_LEVELS:
            for number, case in enumerate(cases):
                noisy = evaluate.with_noise(case, sounds[number % len(sounds)], level)
                yield Trial(name, f"{kind} {level} dB", noisy, doubtful[number] if doubtful else NOTHING)


def _noises(recordings: Path | None) -> dict[str, list[np.ndarray]]:
    """By kind: white, pink, babble of four to seven voices, and real ones where they are; all at an RMS of 0.1."""
    rng = np.random.default_rng(SEED)
    length = round(NOISE_S * RATE)
    noises = {"white": [coloured_noise(rng, length, 0.0)], "pink": [coloured_noise(rng, length, 1.0)]}
    with TemporaryDirectory() as folder:
        list(make_babble(Path(folder), 6, SEED, HELD_OUT_LANGUAGES, fewest=4))
        noises["babble"] = [read_audio(path) for path in audio_files(Path(folder))]
    if recordings:
        noises["real"] = [read_audio(path) for path in audio_files(recordings / "noise")]
    return {kind: [0.1 * sound / np.sqrt(np.mean(sound**2)) for sound in sounds] for kind, sounds in noises.items() if sounds}


def _recorded(folder: Path, noise: list[np.ndarray], *, full: bool) -> Iterator[Trial]:
    """FLAC + TSV (onset_s, offset_s, midi_pitch, ok) under mono/ and stitched/: clean, in full also in noise."""
    clips = [_recording(path) for path in sorted([*folder.glob("mono/*.flac"), *folder.glob("stitched/*.flac")])]
    yield from (Trial("recordings", CLEAN, case, doubtful) for case, doubtful in clips)
    if full:
        for number, (case, doubtful) in enumerate(clips):
            noisy = evaluate.with_noise(case, noise[number % len(noise)], 10)
            yield Trial("recordings", "real 10 dB", noisy, doubtful)


def _recording(path: Path) -> tuple[evaluate.Case, np.ndarray]:
    """A clip with its sure notes as truth, and its doubtful ones."""
    with path.with_suffix(".tsv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    notes = np.array([[float(row[name]) for name in ("onset_s", "offset_s", "midi_pitch")] for row in rows])
    sure = np.array([row["ok"] == "1" for row in rows])
    group = "stitched" if path.parent.name == "stitched" else path.stem.split("_")[0]
    return evaluate.Case(path.stem, group, read_audio(path), RATE, notes[sure]), notes[~sure]


def _in_room(case: evaluate.Case, room: Path) -> evaluate.Case:
    """The case through a measured response, from its direct sound on, so that the truth keeps its times."""
    response = read_audio(room)
    response = response[int(np.argmax(np.abs(response))) :]
    return replace(case, audio=in_room(case.audio, response / np.sqrt(np.sum(response**2))))


def _alone(name: str, sound: np.ndarray) -> evaluate.Case:
    return evaluate.Case(name, "noise alone", np.resize(sound, round(NOISE_S * RATE)).astype(np.float32), RATE, NOTHING)


def _number(case: evaluate.Case) -> int:
    return int(case.name.split("-")[1])


def _short(path: Path) -> str:
    return path.stem.split("_")[-1]
