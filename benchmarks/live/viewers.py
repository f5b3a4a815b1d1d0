"""Twenty viewers of the monitor, five of them frozen, for ten minutes: the engine is no later, and nothing grows."""

import subprocess
import sys
import threading
import time

import numpy as np
import psutil

from benchmarks.live.jackstage import ENVIRONMENT, RATE, WAITING, Stage, server
from benchmarks.live.latency import HIGHEST, LOWEST, PERIOD, TONES, latencies, tones

PASSES = 17  # of the tones: the first one alone, and ten minutes with viewers
PORT = "8798"
MONITOR = [sys.executable, "-m", "rtmelody", "monitor", "--device", "fakemic", "--port", PORT]
# Fifteen that read and five that do not, in a process of their own.
VIEWERS = """
import os, sys, threading
from contextlib import ExitStack
from websockets.sync.client import connect
counts = [0] * 15
def watch(number, viewer):
    for _ in viewer:
        counts[number] += 1
with ExitStack() as stack:
    viewers = [stack.enter_context(connect("ws://127.0.0.1:%s/live", max_size=1 << 22, ping_interval=None)) for _ in range(20)]
    for number in range(15):
        threading.Thread(target=watch, args=(number, viewers[number]), daemon=True).start()
    sys.stdin.read()
    print(min(counts), flush=True)
    os._exit(0)  # the frozen ones would take ten seconds each to say goodbye
"""
LOOK_S = 1.0


def viewers() -> dict[str, float]:
    """Latencies (ms) without and with viewers, memory (MB) of server and engine after two minutes and at the end."""
    pitches = np.random.default_rng(7).integers(LOWEST, HIGHEST + 1, TONES)
    starts, sound = tones(pitches)
    sizes: list[float] = []
    with server(*WAITING, period=PERIOD), Stage(np.tile(sound, PASSES)) as stage:
        program = subprocess.Popen(MONITOR, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            stage.connect()
            playing = threading.Thread(target=stage.play)
            playing.start()
            time.sleep(len(sound) / RATE)
            crowd = subprocess.Popen(
                [sys.executable, "-c", VIEWERS % PORT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            while playing.is_alive():
                sizes.append(_resident_mb(program.pid))
                time.sleep(LOOK_S)
            least = int(crowd.communicate("", timeout=30)[0])
        finally:
            program.terminate()
            program.wait(20)
    onsets = [stage.began + number * len(sound) + starts for number in range(PASSES)]
    late = [1000 * np.array(list(latencies(these, pitches, stage.messages))) for these in onsets]
    alone, watched = late[0], np.concatenate(late[2:])
    return {
        "minutes": round((PASSES - 1) * len(sound) / RATE / 60, 1),
        "alone_p50": round(float(np.percentile(alone, 50)), 1),
        "alone_p90": round(float(np.percentile(alone, 90)), 1),
        "watched_p50": round(float(np.percentile(watched, 50)), 1),
        "watched_p90": round(float(np.percentile(watched, 90)), 1),
        "right": round(100 * len(watched) / (TONES * (PASSES - 2)), 1),
        "least_messages": least,
        "settled_mb": round(sizes[len(sizes) // 5], 1),
        "end_mb": round(sizes[-1], 1),
    }


def _resident_mb(parent: int) -> float:
    family = [psutil.Process(parent), *psutil.Process(parent).children()]
    return sum(process.memory_info().rss for process in family) / 2**20
