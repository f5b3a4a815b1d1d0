"""aubio's fast YIN (Debian's aubio-tools), hop 256, buffer 1024 (2048 was slower and no better); f0 to notes by our rule."""

# /// script
# dependencies = ["numpy", "soundfile"]
# [tool.benchmarks]
# debian = ["aubio-tools", "libaubio5"]
# ///

import harness  # isort: skip (times the start-up)

import subprocess
import tempfile
from collections.abc import Iterator

import numpy as np
import soundfile
from f0_to_notes import Frame, segment

HOP, BUFFER = 256, 1024
SILENCE_DB = -60
COMMAND = ["aubiopitch", "-p", "yinfast", "-H", str(HOP), "-B", str(BUFFER), "-s", str(SILENCE_DB)]


def transcribe(audio: np.ndarray, rate: int) -> Iterator[harness.Note]:
    """Pitch of every hop, which is there when the hop is complete, and speaks of the middle of the buffer that ends there."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        soundfile.write(file.name, audio, rate)
        lines = subprocess.run([*COMMAND, "-i", file.name], check=True, capture_output=True, text=True).stdout.splitlines()
    rows = (tuple(map(float, line.split())) for line in lines)
    frames = (Frame(time + (HOP - BUFFER / 2) / rate, time + HOP / rate, f0 or None, 1.0) for time, f0 in rows)
    yield from ((*note[:4], None) for note in segment(frames, audio, rate))  # aubiopitch tells no confidence


if __name__ == "__main__":
    subprocess.run([COMMAND[0], "-h"], check=True, capture_output=True)
    harness.serve(transcribe)
