"""Where the tracker's thresholds should lie, on fresh clips from the training sources: not on what the model is judged by.

    python -m rtmelody.train.operating_point MODEL SOURCES... [--clips 150]

Every setting of the grid is scored by live F1: right pitch, emitted within 100 ms of the audible onset. Of those within 0.002
of the best, the one with the highest precision is a good choice. On such clips `rtmelody train` calibrates the confidence of a
model, too.
"""

import argparse
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from msgspec import structs
from scipy.optimize import minimize

from rtmelody.config import Tracker as Thresholds
from rtmelody.core.confidence import log_odds
from rtmelody.core.framing import Framing
from rtmelody.core.network import Network, write_manifest
from rtmelody.core.tracker import Tracker
from rtmelody.events import Event, Posterior, notes
from rtmelody.train import evaluate
from rtmelody.train.augment import augment, coloured_noise
from rtmelody.train.dataset import melody_clip
from rtmelody.train.melodies import interval_shares
from rtmelody.train.render import Clip, silence
from rtmelody.train.sources import ENVELOPE_HOP, RATE, Sources, load_sources

CLIP_S = 6.0
SEED, CALIBRATION_SEED = 1_000_003, 1_000_019  # far from the seeds of the shards
REACH = 24  # semitones, of the intervals that are counted
GRID = {
    "on_probability": (0.5, 0.55, 0.6, 0.65, 0.7),
    "evidence_s": (0.0105, 0.0125, 0.016, 0.022),
    "sure_probability": (0.75, 0.85),
    "strike": (0.15, 0.175, 0.2, 0.25),
}

Stream = tuple[evaluate.Case, list[Posterior]]


def streams(sources: Sources, network: Network, clips: int, seed: int = SEED) -> list[Stream]:
    """What the network makes of clips by turns clean, in babble, in coloured noise (10 dB), augmented, and without a note."""
    pitches = (network.manifest.lowest_pitch, network.manifest.highest_pitch)
    found = []
    for number in range(clips):
        rng = np.random.default_rng((seed, number))
        kind = number % 5
        clip = silence(CLIP_S) if kind == 4 else melody_clip(rng, sources, *pitches, CLIP_S)
        case = evaluate.Case(str(number), "clip", clip.audio, RATE, _truth(clip))
        if not len(case.truth):
            case = replace(case, audio=augment(rng, clip.audio, sources))
        elif kind == 1 and sources.babble:
            case = evaluate.with_noise(case, sources.babble[rng.integers(len(sources.babble))], 10.0)
        elif kind == 2:
            case = evaluate.with_noise(case, coloured_noise(rng, len(clip.audio), rng.uniform(0, 2)), 10.0)
        elif kind == 3:
            case = replace(case, audio=augment(rng, clip.audio, sources))
        found.append((case, _posteriors(case.audio, network)))
    return found


def search(found: list[Stream], lowest_pitch: int) -> list[tuple[dict[str, float], dict[str, float]]]:
    """Every setting of the grid with its scores, best F1 first."""
    results = []
    for values in product(*GRID.values()):
        setting = dict(zip(GRID, values, strict=True))
        thresholds = structs.replace(Thresholds(off_probability=min(0.2, setting["on_probability"])), **setting)
        scores = [evaluate.score(case, notes(_track(stream, thresholds, lowest_pitch), RATE)) for case, stream in found]
        results.append((setting, evaluate.summary(scores)))
    return sorted(results, key=lambda result: -result[1]["f1"])


def first_sign(found: list[Stream], lowest_pitch: int) -> float:
    """Median time (s) from a note's audible onset until its class is the most probable: the tracker's `lag_s`."""
    delays = []
    for case, stream in found:
        for onset, offset, pitch in case.truth:
            heard = [one for one in stream if onset < one.at / RATE < min(offset, onset + 0.1)]
            delays += [one.at / RATE - onset for one in heard if one.classes.argmax() == pitch - lowest_pitch][:1]
    return float(np.median(delays))


def calibrate(folder: Path, sources: Sources, clips: int) -> None:
    """Write into a model's manifest how its confidence is to be read, and the intervals of the tunes."""
    network = Network(folder)
    manifest = structs.replace(
        network.manifest,
        confidence=platt(streams(sources, network, clips, CALIBRATION_SEED), network.manifest.lowest_pitch),
        intervals=interval_shares(sources.tunes, REACH),
    )
    write_manifest(folder, manifest)


def platt(found: list[Stream], lowest_pitch: int) -> tuple[float, float]:
    """Slope and offset of the log-odds at which the confidence of what is named is as likely as can be, given what is right."""
    scores = [evaluate.score(case, notes(_track(stream, Thresholds(), lowest_pitch), RATE)) for case, stream in found]
    sure, right = np.array([told for one in scores for told in one.told]).reshape(-1, 2).T
    if not 0 < right.sum() < len(right):
        return 1.0, 0.0
    odds, signs = log_odds(sure), np.where(right, -1.0, 1.0)
    found_at = minimize(lambda line: np.sum(np.logaddexp(0.0, signs * (line[0] * odds + line[1]))), (1.0, 0.0)).x
    return round(float(found_at[0]), 3), round(float(found_at[1]), 3)


def _truth(clip: Clip) -> np.ndarray:
    """Rows [notes, 3] of onset s, offset s, MIDI number, as they can be heard."""
    starts = np.flatnonzero((clip.pitch > 0) & (clip.struck == 0))
    rests = np.append(np.flatnonzero(clip.pitch == 0), len(clip.pitch))
    ends = np.minimum(np.append(starts[1:], len(clip.pitch))[: len(starts)], rests[np.searchsorted(rests, starts)])
    return np.column_stack((starts * ENVELOPE_HOP / RATE, ends * ENVELOPE_HOP / RATE, clip.pitch[starts])).reshape(-1, 3)


def _posteriors(audio: np.ndarray, network: Network) -> list[Posterior]:
    network.reset()
    framing = Framing(RATE, network.manifest.front_end)
    frames = framing.push(audio)
    return [
        Posterior((hop + 1) * framing.hop, *network.step(frames.features[hop]), float(frames.level_db[hop]))
        for hop in range(len(frames))
    ]


def _track(stream: list[Posterior], thresholds: Thresholds, lowest_pitch: int) -> list[Event]:
    tracker = Tracker(thresholds, lowest_pitch, stream[0].at, RATE)
    events = [event for posterior in stream for event in tracker.advance(posterior)]
    return events + tracker.finish(stream[-1].at)


def main() -> None:
    """Print the best settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("sources", type=Path, nargs="+")
    parser.add_argument("--clips", type=int, default=150)
    options = parser.parse_args()
    network = Network(options.model)
    found = streams(load_sources(options.sources), network, options.clips)
    for setting, summary in search(found, network.manifest.lowest_pitch)[:12]:
        print(setting, summary)  # noqa: T201
    print(f"first sign of a note after its onset, median: {1000 * first_sign(found, network.manifest.lowest_pitch):.1f} ms")  # noqa: T201


if __name__ == "__main__":
    main()
