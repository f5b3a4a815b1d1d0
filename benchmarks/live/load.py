"""Beside a busy process for every core: how late hops come, against a loop that does nothing but wake up as often."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import get_context

import numpy as np

from rtmelody.core.recognizer import Recognizer
from rtmelody.engine.performance import undisturbed
from rtmelody.live import POLL_S, Playback, Status, run

RATE = 48_000
SECONDS = 20.0
BUSY = "while True: sum(range(1000))"


def load() -> dict[str, dict[str, float]]:
    """Lateness (ms) of recognition and of the reference, alone and beside the busy processes."""
    found = {f"{name}, alone": _lateness(loop) for name, loop in LOOPS.items()}
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(os.cpu_count() or 1)]
    try:
        return found | {f"{name}, beside": _lateness(loop) for name, loop in LOOPS.items()}
    finally:
        for process in busy:
            process.kill()
            process.wait()


def _lateness(loop: Callable[[], list[tuple[float, float]]]) -> dict[str, float]:
    """Of (due, done) in seconds on clocks of their own: the earliest is in time by definition."""
    with get_context("spawn").Pool(1) as pool:
        late = np.array([done - due for due, done in pool.apply(loop)])
    late = 1000 * (late[len(late) // 10 :] - late.min())
    return {name: round(float(np.percentile(late, q)), 2) for name, q in (("p50", 50), ("p99", 99), ("max", 100))}


def _recognition() -> list[tuple[float, float]]:
    """As the engine does it, on noise that is delivered at the pace of the clock."""
    undisturbed()
    samples = np.random.default_rng(0).normal(0, 0.01, round(SECONDS * RATE)).astype(np.float32)
    found: list[tuple[float, float]] = []

    def note(status: Status) -> None:
        if not found or status.seconds > found[-1][0]:
            found.append((status.seconds, time.monotonic()))

    run(Playback(samples, RATE), Recognizer(RATE), lambda _event: None, note)
    return found


def _reference() -> list[tuple[float, float]]:
    """Two threads as well: one that wakes up for every block, one that looks every two milliseconds."""
    undisturbed()
    found, arrived, began = [], [0], time.monotonic()
    block_s, hop_s = 128 / RATE, 0.01

    def deliver() -> None:
        while arrived[0] * block_s < SECONDS:
            time.sleep(max(0.0, began + (arrived[0] + 1) * block_s - time.monotonic()))
            arrived[0] += 1

    delivering = threading.Thread(target=deliver)
    delivering.start()
    hop = 1
    while delivering.is_alive():
        if arrived[0] * block_s >= hop * hop_s:
            found.append((hop * hop_s, time.monotonic()))
            hop += 1
        else:
            time.sleep(POLL_S)
    return found


LOOPS = {"recognition": _recognition, "reference": _reference}
