"""`python -m benchmarks.pairing`: how often honest devices pair, and attackers succeed; ggwave on the same air.

Rooms with RT60 up to 0.8 s, clocks up to 2 % apart, small loudspeakers (250 Hz to 8 kHz), voices at 20 to 0 dB below the music.
Writes benchmarks/results/pairing.json, and draws docs/pairing.png and the table in docs/pairing.md from it. --runs 500 takes
half an hour on two cores.
"""

import argparse
import json
import subprocess
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.progress import track
from scipy.stats import binomtest

from benchmarks import environments
from benchmarks.__main__ import describe
from benchmarks.pairing import report, trials
from benchmarks.pairing.attack import man_in_the_middle
from benchmarks.pairing.report import LEVELS_DB
from benchmarks.report import ROOT
from rtmelody.pairing.attempt import Rules
from rtmelody.pairing.session import Session
from rtmelody.pairing.spoken import SpokenSession

MODEM = Path(__file__).with_name("ggwave_modem.py")

SPOKEN_DB = 10
OVERLAYS_DB = (-10, -5, 0, 3, 6, 10, 20)
SHORT = Rules(notes=4, tolerance=1)
PAYLOADS = {"short melody": 36, "128 bits": 128, "256 bits": 256}

Arrays = dict[str, np.ndarray]


def main() -> None:
    """Measure, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500, help="pairings at each level (default: %(default)s)")
    parser.add_argument("--attacks", type=int, default=100_000, help="runs of the man in the middle (default: %(default)s)")
    parser.add_argument("--recordings", type=Path, help="folder with measured room responses in rir/")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=ROOT / ".benchmarks", help="rooms, voices, environments")
    parser.add_argument("--draw", action="store_true", help="measure nothing: draw the table and the plot again")
    options = parser.parse_args()
    if not options.draw:
        report.RESULT.write_text(json.dumps(measure(options), indent=1) + "\n", encoding="utf-8")
    report.write(report.load())
    print(f"-> {report.RESULT.relative_to(ROOT)}, docs/pairing.md, docs/pairing.png")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, the honest devices in worker processes."""
    prepare = (options.work / "pairing", options.recordings)
    place = trials.surroundings(*prepare)  # makes the files that the workers read
    with get_context("spawn").Pool(options.jobs, trials.settle, prepare) as pool:

        def rate(trial: Callable, runs: int, what: str) -> dict[str, Any]:
            return summary(list(track(pool.imap_unordered(trial, range(runs)), what, runs)))

        def all_levels(trial: Callable, runs: int, what: str) -> dict[str, Any]:
            return {str(level): rate(partial(trial, level_db=level), runs, f"{what}, {level} dB") for level in LEVELS_DB}

        fifth, tenth = max(1, options.runs // 5), max(1, options.runs // 10)
        return {
            "about": describe(),
            "pairing": all_levels(partial(trials.pairing, kind=Session), options.runs, "With a channel"),
            "spoken": {
                str(SPOKEN_DB): rate(partial(trials.pairing, level_db=SPOKEN_DB, kind=SpokenSession), fifth, "By sound alone")
            },
            "one way": {name: all_levels(partial(trials.one_way, payload=name), tenth, name) for name in PAYLOADS},
            "overlay": {
                str(level): rate(partial(trials.overlay, louder_db=level), tenth, f"Overlay, {level} dB")
                for level in OVERLAYS_DB
            },
            "ggwave": ggwave(options.work, place, tenth),
            "attack": attack(options.attacks),
        }


def ggwave(work: Path, place: trials.Surroundings, runs: int) -> dict[str, Any]:
    """The same payloads through the same air with ggwave; {"absent": why} if it cannot be installed."""
    try:
        python = environments.prepare(MODEM, work / "environments").python
    except environments.AbsentError as error:
        return {"absent": str(error)}
    found: dict[str, Any] = {}
    for name, clock in (("", trials.CLOCK), (", equal clocks", 0.0)):
        found |= {payload + name: _ggwave(python, place, runs, bits, clock) for payload, bits in PAYLOADS.items()}
    return found


def _ggwave(python: Path, place: trials.Surroundings, runs: int, bits: int, clock: float) -> dict[str, Any]:
    """Payloads of so many bits at all levels."""
    rng = np.random.default_rng((trials.SEED, 2))
    sent = {str(run): np.frombuffer(rng.bytes(-(-bits // 8)), np.uint8) for run in range(runs)}
    said = _modem(python, "encode", sent)
    found = {}
    for level in LEVELS_DB:
        rngs = {run: np.random.default_rng((trials.SEED, 1, int(run))) for run in said}
        through = {run: trials.through_air(rngs[run], sound, place, level, clock) for run, sound in said.items()}
        heard = _modem(python, "decode", through)
        found[str(level)] = summary(
            [
                {"ok": np.array_equal(heard[run], sent[run]), "seconds": len(said[run]) / trials.RATE, "errors": []}
                for run in sent
            ]
        )
    return found


def attack(runs: int) -> dict[str, Any]:
    """A man in the middle against a short string, whose theoretical rate can be seen, and against the real one."""
    entropy = np.random.default_rng(trials.SEED).bytes
    short = sum(man_in_the_middle(SHORT, entropy) for _ in track(range(runs), "Attacks on 4 notes"))
    full = sum(man_in_the_middle(Rules(), entropy) for _ in track(range(runs // 10), "Attacks on 12 notes"))
    interval = binomtest(short, runs, SHORT.attack_probability).proportion_ci(0.99, "wilson")
    return {
        "short": {"runs": runs, "successes": short, "theory": SHORT.attack_probability, "interval_99": list(interval)},
        "full": {"runs": runs // 10, "successes": full, "theory": Rules().attack_probability},
    }


def summary(ended: list[dict[str, Any]]) -> dict[str, Any]:
    """Success rate with its 95 % interval (Wilson), and how long it took."""
    right = sum(trial["ok"] for trial in ended)
    interval = binomtest(right, len(ended)).proportion_ci(0.95, "wilson")
    errors = [error for trial in ended for error in trial["errors"]]
    return {
        "runs": len(ended),
        "rate": right / len(ended),
        "interval_95": [interval.low, interval.high],
        "seconds": float(np.median([trial["seconds"] for trial in ended])),
        "errors": {name: errors.count(name) for name in sorted(set(errors))},
    }


def _modem(python: Path, verb: str, arrays: Arrays) -> Arrays:
    """Run ggwave over arrays."""
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(source, **arrays)
        subprocess.run([python, MODEM, verb, source, target], check=True, capture_output=True)
        with np.load(target) as found:
            return dict(found)


if __name__ == "__main__":
    main()
