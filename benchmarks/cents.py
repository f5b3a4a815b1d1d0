"""How exact the deviation is that a NoteOn carries: on sines, and on real single notes of known pitch."""

from pathlib import Path

import numpy as np

from rtmelody.core.network import Network, model_folder
from rtmelody.core.recognizer import Recognizer
from rtmelody.events import NoteOn
from rtmelody.train.sources import RATE, load_library


def sines() -> dict[str, dict[str, float]]:
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


def sampled(notes: Path) -> dict[str, dict[str, float]]:
    """The same for real single notes of known deviation (a folder of libraries with notes.tsv)."""
    network, errors = Network(model_folder("melody")), {}
    for folder in sorted(path for path in notes.iterdir() if (path / "notes.tsv").exists()):
        library = load_library(folder)
        errors[folder.name] = [
            error for sample in library.samples for error in _cents_errors(network, [], (sample.pitch, sample.audio))
        ]
    return {name: _quantiles(values) for name, values in errors.items() if values}


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
