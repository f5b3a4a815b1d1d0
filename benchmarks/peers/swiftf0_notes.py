"""SwiftF0 0.3 with its own notes (`segment_notes`), which need the whole recording: offline."""

# /// script
# dependencies = ["swift-f0==0.3.0", "soxr", "numpy", "soundfile"]
# [tool.benchmarks]
# peer = "swift-f0"
# ///

import harness  # isort: skip (times the start-up)

from collections.abc import Iterator

import numpy as np
from swift_f0 import SwiftF0, segment_notes

DETECTOR = SwiftF0(threads=1)


def transcribe(audio: np.ndarray, rate: int) -> Iterator[harness.Note]:
    """Notes that exist when the recording has ended."""
    end = len(audio) / rate
    for note in segment_notes(DETECTOR.detect(audio, rate)):
        yield note.start, note.end, 69 + 12 * np.log2(note.pitch_hz / 440), end, None


if __name__ == "__main__":
    harness.serve(transcribe)
