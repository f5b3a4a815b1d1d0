"""What recognition costs: offline against real time, and paced as a live stream is, by stage and runtime."""

import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from rtmelody.config import Config
from rtmelody.core.framing import Framing
from rtmelody.core.network import RUNTIMES, Network, model_folder
from rtmelody.core.recognizer import Recognizer
from rtmelody.core.ring import Ring
from rtmelody.core.tracker import Tracker
from rtmelody.events import Posterior
from rtmelody.live import Playback, run, warm_up

RATE = 48_000
PACED_S = 10.0
STRETCHES = 4


def offline(samples: np.ndarray, rate: int) -> dict[str, float]:
    """Times real time at which one thread transcribes, on every installed runtime."""
    speeds = {}
    for runtime in _installed():
        recognizer = Recognizer(rate, None, Network(model_folder("melody"), runtime=runtime))
        began = time.process_time()
        recognizer.push(samples)
        speeds[runtime] = round(len(samples) / rate / (time.process_time() - began), 1)
    return speeds


def paced() -> dict[str, dict[str, float]]:
    """Share of a core (%) that one live stream takes: a hop at a time, asleep in between, so caches are as cold as live.

    The calmest of some stretches counts: a shared machine's other tenants, not this program, make the others dearer.
    """
    stretches = {
        runtime: [_paced_one(Network(model_folder("melody"), runtime=runtime)) for _ in range(STRETCHES)]
        for runtime in _installed()
    }
    return {runtime: min(measured, key=lambda share: share["all"]) for runtime, measured in stretches.items()}


def live(samples: np.ndarray, rate: int) -> float:
    """Share of a core (%) of the whole live path with the preferred runtime: source, ring, polling and all, in CPU time."""
    recognizer = Recognizer(rate)
    warm_up(recognizer)
    began = time.process_time()
    status = run(Playback(samples, rate), recognizer, lambda _event: None)
    return round((time.process_time() - began) / status.seconds * 100, 2)


def help_seconds() -> float:
    """Best of five wall-clock times of `rtmelody --help`."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([Path(sys.executable).with_name("rtmelody"), "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return round(min(times), 3)


def _installed() -> list[str]:
    return [runtime for runtime in RUNTIMES if find_spec(runtime)]


def _paced_one(network: Network) -> dict[str, float]:
    """Framing, network and tracker over a noisy tone that comes out of a ring, each timed on its own."""
    framing = Framing(RATE, network.manifest.front_end)
    tracker = Tracker(Config().tracker, network.manifest.lowest_pitch, framing.hop, RATE)
    hop_s = framing.hop / RATE
    rng = np.random.default_rng(0)
    ring, clock = Ring(RATE), np.arange(framing.hop)
    costs = np.zeros((round(PACED_S / hop_s), 3))
    due = time.perf_counter()
    for hop, cost in enumerate(costs):
        block = 0.2 * np.sin(2 * np.pi * 440 * (clock + hop * framing.hop) / RATE) + 0.01 * rng.standard_normal(framing.hop)
        ring.write(block.astype(np.float32))
        due += hop_s
        time.sleep(max(0.0, due - time.perf_counter()))
        samples = ring.read()
        stamps = [time.perf_counter()]
        frames = framing.push(samples)
        stamps.append(time.perf_counter())
        classes, onset = network.step(frames.features[0])
        stamps.append(time.perf_counter())
        tracker.advance(Posterior(hop * framing.hop, classes, onset, frames.level_db.item(0)))
        stamps.append(time.perf_counter())
        cost[:] = np.diff(stamps)
    # The median hop: a mean would count what the operating system gave to others in between.
    share = np.median(costs[100:], axis=0) / hop_s * 100
    total = np.median(costs[100:].sum(axis=1)) / hop_s * 100
    return dict(zip(("framing", "network", "tracker", "all"), np.round([*share, total], 2).tolist(), strict=True))
