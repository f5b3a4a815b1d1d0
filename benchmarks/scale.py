"""How it grows: live streams on one core, files a minute on one and two processes, memory over an hour."""

import multiprocessing
import re
import time
from itertools import takewhile
from pathlib import Path

import numpy as np

from rtmelody.core.recognizer import Recognizer

RATE = 44_100
STREAMS = (1, 2, 4, 8, 16, 32, 64)
PACED_S = 4.0
STRETCHES = 3
LATE_SHARE = 0.01  # a core holds as many streams as keep all but so many hops in time
SETTLED = 0.1  # memory is compared from this part of the soak on
FILES = 16


def scale(samples: np.ndarray, soak_s: float) -> dict:
    """All of it."""
    measured = streams(samples)
    return {
        "streams": measured,
        "held": held(measured),
        "files_a_minute": files_a_minute(samples),
        "soak": soak(samples, soak_s),
    }


def streams(samples: np.ndarray) -> dict[str, dict[str, float]]:
    """Share of late hops (%) and load (%) of one thread with 1, 2, 4 … recognizers, each fed a hop when it is due.

    The calmest of some stretches counts, as in `speed`.
    """
    measured = {}
    for count in STREAMS:
        stretches = [_paced([Recognizer(RATE) for _ in range(count)], samples) for _ in range(STRETCHES)]
        measured[str(count)] = min(stretches, key=lambda one: one["late_percent"])
        if measured[str(count)]["late_percent"] > 50:
            break
    return measured


def held(measured: dict[str, dict[str, float]]) -> int:
    """The most streams with which a core, as with all fewer, is in time."""
    in_time = takewhile(lambda one: one[1]["late_percent"] <= 100 * LATE_SHARE, measured.items())
    return max((int(count) for count, _ in in_time), default=0)


def _paced(recognizers: list[Recognizer], samples: np.ndarray) -> dict[str, float]:
    hop = recognizers[0].framing.hop
    hop_s = hop / RATE
    late, busy, ticks = 0, 0.0, round(PACED_S / hop_s)
    due = time.perf_counter()
    for tick in range(ticks):
        due += hop_s
        time.sleep(max(0.0, due - time.perf_counter()))
        began = time.perf_counter()
        for recognizer in recognizers:
            recognizer.push(samples[tick * hop : (tick + 1) * hop])
        ended = time.perf_counter()
        late += ended > due + hop_s
        busy += ended - began
    return {"late_percent": round(100 * late / ticks, 2), "load_percent": round(100 * busy / (ticks * hop_s), 1)}


def files_a_minute(samples: np.ndarray) -> dict[str, float]:
    """Recordings of ten seconds transcribed in a minute by one process and by two."""
    clip = np.resize(samples, 10 * RATE)
    rates = {}
    for processes in (1, 2):
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            pool.map(_transcribe, [clip] * processes)  # warm
            began = time.perf_counter()
            pool.map(_transcribe, [clip] * FILES, chunksize=1)
            rates[str(processes)] = round(60 * FILES / (time.perf_counter() - began), 1)
    return rates


def _transcribe(clip: np.ndarray) -> int:
    recognizer = Recognizer(RATE)
    return len(recognizer.push(clip) + recognizer.flush())


def soak(samples: np.ndarray, seconds: float) -> dict[str, float]:
    """Memory (MB) of one recognizer once settled and at the end, streaming as fast as it goes, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_soak, (samples, seconds))


def _soak(samples: np.ndarray, seconds: float) -> dict[str, float]:
    recognizer, settled = Recognizer(RATE), 0.0
    passes = round(seconds * RATE / len(samples))
    for number in range(passes):
        for start in range(0, len(samples), 128):
            recognizer.push(samples[start : start + 128])
        if number == int(SETTLED * passes):
            settled = _resident_mb()
    return {"hours": round(passes * len(samples) / RATE / 3600, 3), "settled_mb": settled, "end_mb": _resident_mb()}


def _resident_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return round(int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024, 1)
