"""librosa's pYIN: its Viterbi decoding needs the whole recording, so nothing is there before the end; notes by our rule."""

# /// script
# dependencies = ["librosa==0.11.0", "numpy", "soundfile"]
# [tool.benchmarks]
# peer = "librosa"
# ///

import harness  # isort: skip (times the start-up)

from collections.abc import Iterator

import librosa
import numpy as np
from f0_to_notes import Frame, segment

RATE, HOP = 22_050, 256
LOWEST, HIGHEST = librosa.midi_to_hz(36), librosa.midi_to_hz(97)


def transcribe(audio: np.ndarray, rate: int) -> Iterator[harness.Note]:
    """All frames are available at the end."""
    sound = librosa.resample(audio, orig_sr=rate, target_sr=RATE)
    f0, voiced, probability = librosa.pyin(sound, fmin=LOWEST, fmax=HIGHEST, sr=RATE, hop_length=HOP)
    end = len(audio) / rate
    frames = (
        Frame(number * HOP / RATE, end, float(hertz) if sings else None, float(sure))
        for number, (hertz, sings, sure) in enumerate(zip(f0, voiced, probability, strict=True))
    )
    return segment(frames, audio, rate)


if __name__ == "__main__":
    harness.serve(transcribe)
