"""`python -m benchmarks.live`: from an onset at the converter to the MIDI message at a receiver, through a real JACK server.

A client plays single tones at known frames and notes the frame of every MIDI message that comes back: rtmelody as soon as
possible, and aubionotes, one after the other on the same server (48 kHz, 128 samples a period). Writes
benchmarks/results/live.json and docs/live.md. Needs jackd and rtmelody[test], and aubionotes to
compare; takes two minutes.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import numpy as np

from benchmarks.__main__ import describe
from benchmarks.report import RESULTS, ROOT

RESULT, DOCUMENT = RESULTS / "live.json", ROOT / "docs" / "live.md"
RATE, PERIOD = 48_000, 128
SERVER = "rtmelody-bench"
ENVIRONMENT = os.environ | {"JACK_DEFAULT_SERVER": SERVER, "JACK_NO_START_SERVER": "1"}
LOWEST, HIGHEST = 60, 96
TONES, TONE_S, SLOT_S = 80, 0.25, 0.45
WARMING_S = 12.0  # Python, Numba and the model are loaded meanwhile
LATEST_S = 0.2
NOTE_ON = 0x90
Message = tuple[int, int, int]  # frame, status, pitch
PEERS = {
    "rtmelody": [sys.executable, "-m", "rtmelody", "listen", "--device", "fakemic", "--quiet"],
    "aubionotes": ["aubionotes", "-j"],
}


def main() -> None:
    """Measure every peer that is installed, write."""
    with server():
        found = {name: measure(command) for name, command in PEERS.items() if shutil.which(command[0])}
    result = {"about": describe(), "rate": RATE, "period": PERIOD, "tones": TONES, "peers": found}
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    DOCUMENT.write_text(document(result), encoding="utf-8")
    print(document(result))


def document(result: dict[str, Any]) -> str:
    """The table in Markdown."""
    about = result["about"]
    lines = [
        "# From the onset to the MIDI message",
        "",
        f"{result['tones']} single tones from C4 to C7 through a JACK server ({result['rate']} Hz, {result['period']} samples",
        "a period), from the frame of the onset at the converter to the frame of the note-on at a receiver.",
        "Jitter is what lies between the 5th and the 95th percentile. `python -m benchmarks.live`",
        f"at commit {about['commit']}, {about['date']}.",
        "",
        "| | right | median | 90 % within | jitter |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, row in result["peers"].items():
        lines.append(f"| {name} | {row['right']} | {row['p50']:.1f} ms | {row['p90']:.1f} ms | {row['jitter']:.1f} ms |")
    return "\n".join(lines) + "\n"


def measure(command: list[str]) -> dict[str, float]:
    """Latencies of the tones that a program names rightly."""
    rng = np.random.default_rng(7)
    pitches = rng.integers(LOWEST, HIGHEST + 1, TONES)
    with Bench(pitches) as bench:
        program = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            bench.connect()
            bench.play()
        finally:
            program.terminate()
            program.wait(20)
    latencies = np.array(list(_latencies(bench.onsets, pitches, bench.messages))) * 1000
    if not len(latencies):
        raise RuntimeError(f"{command[0]} was not heard.")
    p5, p50, p90, p95 = np.percentile(latencies, (5, 50, 90, 95))
    return {"right": len(latencies), "p50": round(p50, 2), "p90": round(p90, 2), "jitter": round(p95 - p5, 2)}


def _latencies(onsets: np.ndarray, pitches: np.ndarray, messages: list[Message]) -> Iterator[float]:
    """Seconds from each onset to the first note-on of its pitch, if that comes in time."""
    for onset, pitch in zip(onsets, pitches, strict=True):
        until = onset + LATEST_S * RATE
        frames = [frame for frame, status, heard in messages if status == NOTE_ON and heard == pitch and onset < frame < until]
        if frames:
            yield (frames[0] - onset) / RATE


class Bench:
    """A JACK client: a microphone that plays tones, and a receiver of MIDI."""

    def __init__(self, pitches: np.ndarray) -> None:
        import jack  # fails to import where there is no JACK

        rng = np.random.default_rng(8)
        starts = ((np.arange(TONES) + rng.uniform(0, 0.2, TONES)) * SLOT_S * RATE).astype(int)
        self._sound = np.zeros(round((TONES + 1) * SLOT_S * RATE), np.float32)
        for start, pitch in zip(starts, pitches, strict=True):
            tone = _tone(pitch)
            self._sound[start : start + len(tone)] += tone
        self._sound += rng.normal(0, 1e-4, len(self._sound)).astype(np.float32)
        self._starts, self._began, self._playing = starts, 0, False
        self.onsets = np.zeros(0)
        self.messages: list[Message] = []
        self._client = jack.Client("fakemic", servername=SERVER)
        self._out = self._client.outports.register("out", is_terminal=True, is_physical=True)
        self._midi = self._client.midi_inports.register("heard")
        self._client.set_process_callback(self._process)

    def __enter__(self) -> Self:
        self._client.activate()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.deactivate()
        self._client.close()

    def connect(self) -> None:
        """Join the program's ports to these, however long it takes to open them."""
        own = {self._out.name, self._midi.name}
        until = time.monotonic() + WARMING_S
        while time.monotonic() < until:
            for port in self._client.get_ports(is_midi=True, is_output=True):
                if port.name not in own and not port.name.startswith("system") and not self._midi.is_connected_to(port):
                    self._client.connect(port, self._midi)
            for port in self._client.get_ports(is_audio=True, is_input=True):
                if not port.name.startswith("system") and not self._out.is_connected_to(port):
                    self._client.connect(self._out, port)
            time.sleep(0.2)

    def play(self) -> None:
        """All tones, and what follows the last one."""
        self._playing = True
        time.sleep(len(self._sound) / RATE + LATEST_S)

    def _process(self, frames: int) -> None:
        now = self._client.last_frame_time
        block = np.zeros(frames, np.float32)
        if self._playing:
            self._began = self._began or now
            self.onsets = self._began + self._starts
            place = now - self._began  # by the server's count: it may have left this client out in between
            rest = self._sound[place : place + frames]
            block[: len(rest)] = rest
        self._out.get_array()[:] = block
        for offset, data in self._midi.incoming_midi_events():
            status, pitch, velocity = (*bytes(data), 0, 0)[:3]
            self.messages.append((now + offset, status if velocity else 0, pitch))


def _tone(pitch: int) -> np.ndarray:
    """Eight falling harmonics with a decay, faded in over 2 ms."""
    time_s = np.arange(round(TONE_S * RATE)) / RATE
    frequency = 440.0 * 2 ** ((pitch - 69) / 12)
    waves = sum(np.sin(2 * np.pi * frequency * h * time_s) / h**1.5 for h in range(1, 9) if frequency * h < RATE / 2.2)
    shape = np.minimum(1, time_s / 0.002) * np.exp(-4 * time_s) * np.minimum(1, (TONE_S - time_s) / 0.01)
    return (0.15 * shape * waves).astype(np.float32)


@contextmanager
def server() -> Iterator[None]:
    """A dummy JACK server that waits for slow clients: a busy machine makes it slower, but frames are frames."""
    command = ["jackd", "-R", "--no-mlock", "-n", SERVER, "-p", "256", "-S", "-t", "2000"]
    command += ["-d", "dummy", "-r", str(RATE), "-p", str(PERIOD)]
    with ExitStack() as stack:
        process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.kill)
        subprocess.run(["jack_wait", "-s", SERVER, "-w", "-t", "10"], env=ENVIRONMENT, check=True, capture_output=True)
        yield


if __name__ == "__main__":
    main()
