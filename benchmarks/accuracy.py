"""How many notes are right, and how soon: on a soundfont that training never heard, and on real recordings."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rtmelody.config import Config
from rtmelody.core.network import Network, model_folder
from rtmelody.core.recognizer import Recognizer
from rtmelody.events import NoteOn
from rtmelody.train import evaluate
from rtmelody.train.sources import RATE, load_library, read_audio

HELD_OUT = Path("/usr/share/sounds/sf2/TimGM6mb.sf2")


def rendered(soundfont: Path = HELD_OUT, melodies: int = 10) -> evaluate.Table:
    """Tables by condition and instrument on rendered melodies."""
    network, config = Network(model_folder("melody")), Config()
    return evaluate.tables(evaluate.held_out(soundfont, network, config, melodies))


def real(folder: Path) -> evaluate.Table:
    """The same on annotated recordings: FLAC + TSV (onset_s, offset_s, midi_pitch, ok) under mono/ and stitched/.

    Predictions that begin inside a row with ok = 0 are ignored.
    """
    network, config = Network(model_folder("melody")), Config()
    return evaluate.tables(
        ("clean", case.group, evaluate.score(case, _outside(evaluate.recognize(case, network, config), doubtful)))
        for case, doubtful in _recordings(folder)
    )


def cents() -> dict[str, dict[str, float]]:
    """Median and 90th percentile of the error in cents at the decision: sines, and one after another without a gap."""
    network = Network(model_folder("melody"))
    rng = np.random.default_rng(1)
    errors: dict[str, list[float]] = {"single sines": [], "sines in sequence": []}
    for _ in range(60):
        pitch, deviation = int(rng.integers(48, 100)), rng.uniform(-40, 40)
        errors["single sines"] += _cents_errors(network, [(pitch, deviation)], None)
        sequence = [(int(key), rng.uniform(-40, 40)) for key in rng.choice(np.arange(48, 100), 4, replace=False)]
        errors["sines in sequence"] += _cents_errors(network, sequence, None)
    return {name: _quantiles(values) for name, values in errors.items()}


def sampled_cents(notes: Path) -> dict[str, dict[str, float]]:
    """The same for real single notes of known deviation (a folder of libraries with notes.tsv)."""
    network, errors = Network(model_folder("melody")), {}
    for folder in sorted(path for path in notes.iterdir() if (path / "notes.tsv").exists()):
        library = load_library(folder)
        errors[folder.name] = [
            error for sample in library.samples for error in _cents_errors(network, [], (sample.pitch, sample.audio))
        ]
    return {name: _quantiles(values) for name, values in errors.items() if values}


def _recordings(folder: Path) -> Iterator[tuple[evaluate.Case, np.ndarray]]:
    """Every clip with its sure notes as truth, and its doubtful ones."""
    for path in sorted([*folder.glob("mono/*.flac"), *folder.glob("stitched/*.flac")]):
        with path.with_suffix(".tsv").open(encoding="utf-8") as table:
            rows = list(csv.DictReader(table, delimiter="\t"))
        notes = np.array([[float(row[name]) for name in ("onset_s", "offset_s", "midi_pitch")] for row in rows])
        sure = np.array([row["ok"] == "1" for row in rows])
        group = "stitched" if path.parent.name == "stitched" else path.stem.split("_")[0]
        yield evaluate.Case(path.stem, group, read_audio(path), RATE, notes[sure]), notes[~sure]


def _outside(found: list[Any], doubtful: np.ndarray) -> list[Any]:
    return [note for note in found if not any(begin <= note.onset <= end for begin, end, _ in doubtful)]


def _cents_errors(network: Network, sines: list[tuple[int, float]], sample: tuple[float, np.ndarray] | None) -> list[float]:
    """Errors of the notes that were named right."""
    recognizer = Recognizer(RATE, None, network)
    if sample:
        true, audio = [sample[0]], sample[1]
    else:
        true = [pitch + deviation / 100 for pitch, deviation in sines]
        time = np.arange(round(0.3 * RATE)) / RATE
        fade = np.minimum(1, np.minimum(time, time[::-1]) / 0.003)
        audio = np.concatenate([0.3 * fade * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time) for pitch in true])
    ons = [event for event in recognizer.push(audio.astype(np.float32)) if isinstance(event, NoteOn)]
    named = {on.pitch: on.cents for on in reversed(ons)}
    return [100 * (round(pitch) - pitch) + named[round(pitch)] for pitch in true if round(pitch) in named]


def _quantiles(errors: list[float]) -> dict[str, float]:
    median, most = np.percentile(np.abs(errors), (50, 90))
    return {"notes": len(errors), "median": round(float(median), 1), "p90": round(float(most), 1)}
