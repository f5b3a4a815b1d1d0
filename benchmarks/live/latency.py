"""From an onset at the converter to the MIDI message at a receiver: single tones at known frames, through a JACK server."""

import shutil
import subprocess
import sys
from collections.abc import Iterator

import numpy as np

from benchmarks.live.jackstage import ENVIRONMENT, RATE, WAITING, Message, Stage, server

PERIOD = 128
LOWEST, HIGHEST = 60, 96
TONES, TONE_S, SLOT_S = 80, 0.25, 0.45
LATEST_S = 0.2
NOTE_ON = 0x90
LISTEN = [sys.executable, "-m", "rtmelody", "listen", "--device", "fakemic", "--quiet"]
PEERS = {
    "rtmelody, fast": [*LISTEN, "--speed", "fast"],
    "rtmelody, balanced": LISTEN,
    "rtmelody, careful": [*LISTEN, "--speed", "careful"],
    "aubionotes": ["aubionotes", "-j"],
}
FIXED = {"rtmelody, fixed at 40 ms": [*LISTEN, "--fixed-latency", "40ms"]}


def latency() -> dict[str, dict[str, float]]:
    """Every peer that is installed, on one server, one after the other; all in its frames."""
    with server(*WAITING, period=PERIOD):
        return {name: measure(command) for name, command in PEERS.items() if shutil.which(command[0])}


def fixed_latency() -> dict[str, dict[str, float]]:
    """How even a fixed latency is: on a server that waits for nobody, since it would bend the time that is measured."""
    with server(period=PERIOD):
        return {name: measure(command) for name, command in FIXED.items()}


def measure(command: list[str]) -> dict[str, float]:
    """Latencies (ms) of the tones that a program names rightly; jitter is from the 5th to the 95th percentile.

    `others`: what else it sent, wrong pitches and second note-ons.
    """
    rng = np.random.default_rng(7)
    pitches = rng.integers(LOWEST, HIGHEST + 1, TONES)
    starts, sound = tones(pitches)
    with Stage(sound) as stage:
        program = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            stage.connect()
            stage.play()
        finally:
            program.terminate()
            program.wait(20)
    found = np.array(list(latencies(stage.began + starts, pitches, stage.messages))) * 1000
    if not len(found):
        raise RuntimeError(f"{command} was not heard.")
    p5, p50, p90, p95 = np.percentile(found, (5, 50, 90, 95))
    others = sum(status == NOTE_ON for _, status, _ in stage.messages) - len(found)
    return {"right": len(found), "others": others, "p50": round(p50, 2), "p90": round(p90, 2), "jitter": round(p95 - p5, 2)}


def tones(pitches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each begins, and the sound [samples]."""
    rng = np.random.default_rng(8)
    starts = ((np.arange(TONES) + rng.uniform(0, 0.2, TONES)) * SLOT_S * RATE).astype(int)
    sound = rng.normal(0, 1e-4, round((TONES + 1) * SLOT_S * RATE)).astype(np.float32)
    for start, pitch in zip(starts, pitches, strict=True):
        tone = _tone(pitch)
        sound[start : start + len(tone)] += tone
    return starts, sound


def _tone(pitch: int) -> np.ndarray:
    """Eight falling harmonics with a decay, faded in over 2 ms."""
    time_s = np.arange(round(TONE_S * RATE)) / RATE
    frequency = 440.0 * 2 ** ((pitch - 69) / 12)
    waves = sum(np.sin(2 * np.pi * frequency * h * time_s) / h**1.5 for h in range(1, 9) if frequency * h < RATE / 2.2)
    shape = np.minimum(1, time_s / 0.002) * np.exp(-4 * time_s) * np.minimum(1, (TONE_S - time_s) / 0.01)
    return (0.15 * shape * waves).astype(np.float32)


def latencies(onsets: np.ndarray, pitches: np.ndarray, messages: list[Message]) -> Iterator[float]:
    """Seconds from each onset to the first note-on of its pitch, if that comes in time."""
    for onset, pitch in zip(onsets, pitches, strict=True):
        until = onset + LATEST_S * RATE
        frames = [frame for frame, status, heard in messages if status == NOTE_ON and heard == pitch and onset < frame < until]
        if frames:
            yield (frames[0] - onset) / RATE
