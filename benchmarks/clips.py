"""Trials on disk: a WAV file each, and beside it what it is and its truth, so that a run can go on where it stopped."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

from benchmarks import sets
from benchmarks.metrics import Outcome
from rtmelody.train import augment, evaluate, sources

RATE = 44_100  # what most microphones and all peers expect
COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Clip:
    """One trial on disk; `digest` is that of its sound."""

    path: Path
    digest: str
    set: str
    condition: str
    group: str
    seconds: float
    truth: np.ndarray
    doubtful: np.ndarray

    def outcome(self, notes: list[list[float | None]]) -> Outcome:
        """What a peer's notes (see `peers/harness.py`) come to."""
        found = np.array(notes, float).reshape(-1, 5)
        return Outcome(self.group, self.seconds, self.truth, self.doubtful, found)


def prepare(
    folder: Path, recordings: Path | None, extent: sets.Extent, progress: Callable[[Iterable], Iterable] = iter
) -> list[Clip]:
    """Render all trials into a folder of their own, unless that was done before."""
    digest = hashlib.sha256(f"{recordings} {extent}".encode())
    for file in (__file__, *(module.__file__ for module in (sets, evaluate, augment, sources))):
        digest.update(Path(file).read_bytes())
    for file in (sets.HELD_OUT, *sorted(recordings.rglob("*.*") if recordings else ())):
        digest.update(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}".encode())
    folder = folder / digest.hexdigest()[:12]
    if not (folder / COMPLETE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        for trial in progress(sets.trials(recordings, extent)):
            write(folder, trial)
        (folder / COMPLETE).touch()
    return list(read(folder))


def write(folder: Path, trial: sets.Trial) -> None:
    """One trial as WAV and JSON, scaled only if it would clip."""
    audio = resample_poly(trial.case.audio, RATE, trial.case.rate)
    audio /= max(1.0, np.max(np.abs(audio)) / 0.99)
    soundfile.write(folder / f"{trial.name}.wav", audio, RATE)
    about = {
        "set": trial.set, "condition": trial.condition, "group": trial.case.group, "seconds": len(audio) / RATE,
        "truth": trial.case.truth.tolist(), "doubtful": trial.doubtful.tolist(),
    }  # fmt: skip
    (folder / f"{trial.name}.json").write_text(json.dumps(about), encoding="utf-8")


def read(folder: Path) -> Iterator[Clip]:
    """The clips of a folder."""
    for path in sorted(folder.glob("*.json")):
        about = json.loads(path.read_text(encoding="utf-8"))
        notes = {name: np.array(about.pop(name), float).reshape(-1, 3) for name in ("truth", "doubtful")}
        sound = path.with_suffix(".wav")
        yield Clip(sound, hashlib.sha256(sound.read_bytes()).hexdigest()[:16], **about, **notes)
