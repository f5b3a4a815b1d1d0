"""Ten minutes through JACK, and an hour through the engine as fast as it goes: nothing is lost, grows or drifts."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from itertools import zip_longest
from pathlib import Path

import msgspec
import numpy as np
import psutil
from scipy.signal import resample_poly

from benchmarks.live.jackstage import ENVIRONMENT, RATE, WAITING, Stage, server
from rtmelody import Recognizer
from rtmelody.events import Told, ToldOn, told
from rtmelody.io.files import read_audio
from rtmelody.io.session import EVENTS, SOUND

PERIOD = 128
MINUTES = 10
HOUR_S = 3600.0
SETTLED = 0.1  # memory is compared from this part of the hour on
LOOK_S = 0.5
ROUNDING_S, EXACT = 2.5e-4, 1e-9
DEMO = Path(__file__).parents[2] / "rtmelody" / "data" / "demo.ogg"
LISTEN = [sys.executable, "-m", "rtmelody", "listen"]


def ten_minutes() -> dict[str, float]:
    """What is played, what was recorded, what was told and what arrived as MIDI must all be the same."""
    played = _performance(60.0 * MINUTES)
    with tempfile.TemporaryDirectory() as folder, server(*WAITING, period=PERIOD), Stage(played) as stage:
        command = [*LISTEN, "--device", "fakemic", "--quiet", "--record", folder]
        listener = subprocess.Popen(command, env=ENVIRONMENT)
        try:
            stage.connect()
            stage.play()
        finally:
            listener.terminate()
            listener.wait(20)
        time.sleep(1)
        (session,) = Path(folder).iterdir()
        heard, _ = read_audio(session / SOUND)
        entries = [msgspec.json.decode(line, type=Told) for line in (session / EVENTS).read_bytes().splitlines()]
    recognizer = Recognizer(RATE)
    expected = [told(event, RATE) for event in recognizer.push(heard) + recognizer.flush()]
    messages = [(status & 0xF0 == 0x90, pitch) for _, status, pitch in stage.messages if status & 0xF0 in (0x80, 0x90)]
    first = int(np.flatnonzero(heard)[0]) - int(np.flatnonzero(played)[0])
    return {
        "minutes": MINUTES,
        "samples_lost": lost(played, heard[first : first + len(played)]),
        "events": len(entries),
        "unlike_transcribe": sum(not _same(*pair) for pair in zip_longest(entries, expected)),
        "messages_unlike_events": sum(
            message != (entry and (isinstance(entry, ToldOn), entry.midi)) for message, entry in zip_longest(messages, entries)
        ),
    }


def hour() -> dict[str, float]:
    """Memory of the engine (MB) once settled and at the end, and how far its events drift (ms) from the sound's clock."""
    tune, rate = read_audio(DEMO)
    tune = tune[: len(tune) // rate * rate]
    passes = round(HOUR_S * rate / len(tune))
    command = [*LISTEN, "--device", "-", "--rate", str(rate), "--pcm", "f32le", "--no-midi", "--json"]
    listener = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    began, sizes = time.monotonic(), []

    def feed() -> None:
        for _ in range(passes):
            listener.stdin.write(tune.tobytes())
        listener.stdin.close()

    def weigh() -> None:
        while listener.poll() is None:
            sizes.extend(child.memory_info().rss / 2**20 for child in _engines(listener.pid))
            time.sleep(LOOK_S)

    for work in (feed, weigh):
        threading.Thread(target=work, daemon=True).start()
    events = [json.loads(line) for line in listener.stdout]
    listener.wait(20)
    return {
        "hours": round(passes * len(tune) / rate / 3600, 3),
        "times_real_time": round(passes * len(tune) / rate / (time.monotonic() - began), 1),
        "events": len(events),
        "settled_mb": round(sizes[int(SETTLED * len(sizes))], 1),
        "end_mb": round(sizes[-2], 1),
        "drift_ms": _drift_ms(events, len(tune) / rate, passes),
    }


def _performance(seconds: float) -> np.ndarray:
    """The demonstration in one key after the other, as 16-bit numbers, which a recording keeps."""
    tune, rate = read_audio(DEMO)
    keys = [resample_poly(tune, RATE * 100, rate * (100 + 6 * key)) for key in range(-3, 4)]
    sound = np.resize(np.concatenate(keys), round(seconds * RATE))
    return (np.round(sound * 2**15) / 2**15).astype(np.float32)


def lost(played: np.ndarray, heard: np.ndarray) -> int:
    """Samples that were heard otherwise than played, or not at all."""
    return int(np.count_nonzero(heard != played[: len(heard)])) + len(played) - len(heard)


def _same(one: Told | None, other: Told | None) -> bool:
    """Whether two tell the same, to the rounding of their times."""
    if one is None or other is None or type(one) is not type(other):
        return False
    a, b = msgspec.structs.asdict(one), msgspec.structs.asdict(other)
    return all(abs(a[key] - b[key]) < (ROUNDING_S if key in ("at", "onset") else EXACT) for key in a)


def _engines(parent: int) -> list[psutil.Process]:
    try:
        return [child for child in psutil.Process(parent).children() if "spawn_main" in " ".join(child.cmdline())]
    except psutil.NoSuchProcess:
        return []


def _drift_ms(events: list[dict], period_s: float, passes: int) -> float:
    """How much later than in the second pass the notes of the last one come, by the events' own clock."""

    def onsets(number: int) -> np.ndarray:
        lowest = number * period_s
        return np.array([e["at"] - lowest for e in events if e["event"] == "on" and lowest <= e["at"] < lowest + period_s])

    early, late = onsets(1), onsets(passes - 1)
    return round(1000 * float(np.abs(late - early).max()), 2) if len(early) == len(late) else float("nan")
