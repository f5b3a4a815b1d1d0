"""SwiftF0 0.3, streamed in its own hops; f0 to notes by our rule."""

# /// script
# dependencies = ["swift-f0==0.3.0", "soxr", "numpy", "soundfile"]
# [tool.benchmarks]
# peer = "swift-f0"
# ///

import harness  # isort: skip (times the start-up)

from collections.abc import Iterator

import numpy as np
from f0_to_notes import Frame, segment
from swift_f0 import SwiftF0
from swift_f0.core import FRAME_PERIOD

VOICED = 0.5  # its own default
DETECTOR = SwiftF0(threads=1)


def transcribe(audio: np.ndarray, rate: int) -> Iterator[harness.Note]:
    """Whatever a push returns is available once that block is complete."""
    return segment(_frames(audio, rate), audio, rate)


def _frames(audio: np.ndarray, rate: int) -> Iterator[Frame]:
    stream = DETECTOR.stream()
    for block, there in harness.blocks(audio, round(FRAME_PERIOD * rate)):
        result = stream.push(block, rate)
        for time, f0, confidence in zip(result.timestamps, result.pitch_hz, result.confidence, strict=True):
            yield Frame(time, there / rate, f0 if confidence >= VOICED else None, confidence)


if __name__ == "__main__":
    harness.serve(transcribe)
