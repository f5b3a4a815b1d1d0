"""What everybody is judged on: rendered melodies with exact truth, real recordings where there are any, noise alone.

A trial is a case under a condition ("white 10 dB", "kitchen"). All of it is deterministic, and nothing of it is trained on:
TimGM6mb, languages and seeds that training never sees. The clean melodies also decided between experiments, though; those of
another seed decided nothing.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from rtmelody.train import evaluate
from rtmelody.train.augment import HELD_OUT_LANGUAGES, coloured_noise, in_room, make_babble
from rtmelody.train.sources import RATE, audio_files, from_direct_sound, read_audio

HELD_OUT = Path("/usr/share/sounds/sf2/TimGM6mb.sf2")
SEED = evaluate.SEED
UNTOUCHED = SEED + 10  # of melodies that decided nothing
CLEAN = "clean"
NOTHING = np.zeros((0, 3))
NOISE_S = 15.0
FAST_S = (0.07, 0.15)
NOISY = 2  # melodies an instrument under each noisy condition
RECORDINGS_DB = (10, 0)  # of recordings above real noise


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of everything a run takes."""

    melodies: int  # an instrument, here and in the table of the model's card
    noises: tuple[str, ...]
    levels_db: tuple[int, ...]  # of the music above the noise
    alone_s: float  # of each noise alone, at most
    every: int  # which recordings: each, each third, …
    elsewhere: bool  # melodies in rooms too, recordings in rooms and in noise


QUICK = Extent(melodies=1, noises=("white", "babble"), levels_db=(10,), alone_s=3.0, every=6, elsewhere=False)
FULL = Extent(
    melodies=10, noises=("white", "pink", "babble", "real"), levels_db=(20, 10, 5, 0), alone_s=60.0, every=1, elsewhere=True
)


@dataclass(frozen=True, slots=True)
class Trial:
    """One clip to transcribe; `doubtful` [notes, 3] are annotations that nobody is sure of, and count neither way."""

    set: str  # melodies, other melodies, fast, recordings, noise alone
    condition: str
    case: evaluate.Case
    doubtful: np.ndarray = field(default_factory=NOTHING.copy)

    @property
    def name(self) -> str:
        """Unique among trials, and fit for a file."""
        return f"{self.set}_{self.condition}_{self.case.name}".replace(" ", "-").replace("/", "-")


def trials(recordings: Path | None, extent: Extent) -> Iterator[Trial]:
    """All of them. Noisy conditions take the first melodies of each instrument only."""
    melodies = list(evaluate.rendered_melodies(HELD_OUT, extent.melodies, SEED))
    noisy = [case for case in melodies if _number(case) < NOISY]
    noises = _noises(recordings)
    yield from (Trial("melodies", CLEAN, case) for case in melodies)
    others = evaluate.rendered_melodies(HELD_OUT, extent.melodies, UNTOUCHED)
    yield from (Trial("other melodies", CLEAN, case) for case in others)
    yield from (Trial("fast", CLEAN, case) for case in evaluate.rendered_melodies(HELD_OUT, NOISY, SEED + 1, lengths=FAST_S))
    for kind in (kind for kind in extent.noises if kind in noises):
        for level in extent.levels_db:
            yield from (
                Trial(
                    "melodies", f"{kind} {level} dB", evaluate.with_noise(case, noises[kind][number % len(noises[kind])], level)
                )
                for number, case in enumerate(noisy)
            )
    if recordings:
        rooms = [(_short(path), read_audio(path)) for path in audio_files(recordings / "rir")] if extent.elsewhere else []
        beside = noises.get("real", []) if extent.elsewhere else []
        yield from _recorded(recordings, extent.every, beside, [room for _, room in rooms])
        for name, room in rooms:
            yield from (Trial("melodies", f"room {name}", _in_room(case, room)) for case in noisy)
    for kind, sounds in _noises_alone(noises, extent.alone_s).items():
        cases = (evaluate.Case(f"{kind}-{number}", "noise alone", one, RATE, NOTHING) for number, one in enumerate(sounds))
        yield from (Trial("noise alone", kind, case) for case in cases)


def _noises(recordings: Path | None) -> dict[str, list[np.ndarray]]:
    """By kind: white, pink, babble of four to seven voices, and real ones where they are; all at an RMS of 0.1."""
    rng = np.random.default_rng(SEED)
    length = round(NOISE_S * RATE)
    noises = {"white": [coloured_noise(rng, length, 0.0)], "pink": [coloured_noise(rng, length, 1.0)]}
    noises["babble"] = _babble(6)
    if recordings:
        noises["real"] = [read_audio(path) for path in audio_files(recordings / "noise")]
    return {kind: _leveled(sounds) for kind, sounds in noises.items() if sounds}


def _noises_alone(noises: dict[str, list[np.ndarray]], seconds: float) -> dict[str, list[np.ndarray]]:
    """The same kinds, and silence: nothing is heard twice, so what cannot be made any longer stays as short as it is."""
    rng = np.random.default_rng(UNTOUCHED)
    length = round(seconds * RATE)
    made = {"white": [coloured_noise(rng, length, 0.0)], "pink": [coloured_noise(rng, length, 1.0)]}
    longer = noises | {kind: _leveled(sounds) for kind, sounds in made.items()}
    if "babble" in noises:
        longer["babble"] = _leveled(_babble(2 * len(noises["babble"])))
    longer["silence"] = [np.zeros(length, np.float32)]
    return {kind: [sound[:length].astype(np.float32) for sound in sounds] for kind, sounds in longer.items()}


def _babble(clips: int) -> list[np.ndarray]:
    with TemporaryDirectory() as folder:
        list(make_babble(Path(folder), clips, SEED, HELD_OUT_LANGUAGES, fewest=4))
        return [read_audio(path) for path in audio_files(Path(folder))]


def _leveled(sounds: list[np.ndarray]) -> list[np.ndarray]:
    return [0.1 * sound / np.sqrt(np.mean(sound**2)) for sound in sounds]


def _recorded(folder: Path, every: int, noises: list[np.ndarray], rooms: list[np.ndarray]) -> Iterator[Trial]:
    """FLAC + TSV (onset_s, offset_s, midi_pitch, ok) under mono/ and stitched/: as they are, in a noise each, and in a room."""
    for number, path in enumerate(sorted([*folder.glob("mono/*.flac"), *folder.glob("stitched/*.flac")])[::every]):
        case, doubtful = _recording(path)
        yield Trial("recordings", CLEAN, case, doubtful)
        for level in RECORDINGS_DB if noises and len(case.truth) else ():
            noisy = evaluate.with_noise(case, noises[number % len(noises)], level)
            yield Trial("recordings", f"real {level} dB", noisy, doubtful)
        if rooms:
            yield Trial("recordings", "room", _in_room(case, rooms[number % len(rooms)]), doubtful)


def _recording(path: Path) -> tuple[evaluate.Case, np.ndarray]:
    """A clip with its sure notes as truth, and its doubtful ones."""
    with path.with_suffix(".tsv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    notes = np.array([[float(row[name]) for name in ("onset_s", "offset_s", "midi_pitch")] for row in rows])
    sure = np.array([row["ok"] == "1" for row in rows])
    group = "stitched" if path.parent.name == "stitched" else path.stem.split("_")[0]
    return evaluate.Case(path.stem, group, read_audio(path), RATE, notes[sure]), notes[~sure]


def _in_room(case: evaluate.Case, response: np.ndarray) -> evaluate.Case:
    """The case through a measured response, from its direct sound on, so that the truth keeps its times."""
    return replace(case, audio=in_room(case.audio, from_direct_sound(response)))


def _number(case: evaluate.Case) -> int:
    return int(case.name.split("-")[1])


def _short(path: Path) -> str:
    return path.stem.split("_")[-1]
