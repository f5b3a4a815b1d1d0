"""aubionotes (Debian's aubio-tools 0.4.9) with its defaults: it makes notes itself, and prints when it decided."""

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


def transcribe(audio: np.ndarray, rate: int) -> Iterator[harness.Note]:
    """Lines "midi start end"; the start is the moment at which it would send the note."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        soundfile.write(file.name, audio, rate)
        lines = subprocess.run(["aubionotes", "-i", file.name], check=True, capture_output=True, text=True).stdout.splitlines()
    for row in (tuple(map(float, line.split())) for line in lines):
        if len(row) == 3:  # the first and last line hold a time only
            midi, start, end = row
            yield start, max(end, start + 0.01), midi, start, None


if __name__ == "__main__":
    subprocess.run(["aubionotes", "-h"], check=True, capture_output=True)
    harness.serve(transcribe)
