"""Basic Pitch 0.4.0 (ONNX): transcribes windows of two seconds, so a note is there when its window is."""

# /// script
# dependencies = [
#   "onnxruntime", "librosa==0.10.2", "mir_eval", "pretty_midi", "resampy==0.4.3", "scikit-learn", "scipy",
#   "numpy<2", "soundfile", "setuptools<80",
# ]
# [tool.benchmarks]
# peer = "basic-pitch"
# without-dependencies = ["basic-pitch==0.4.0"]  # its TensorFlow is not needed
# ///

import harness  # isort: skip (times the start-up)

import logging
import tempfile
from collections.abc import Iterator

logging.disable(logging.WARNING)  # about the runtimes that are not installed

import numpy as np
import soundfile
from basic_pitch import FilenameSuffix, build_icassp_2022_model_path
from basic_pitch.constants import AUDIO_N_SAMPLES, AUDIO_SAMPLE_RATE, FFT_HOP
from basic_pitch.inference import Model, predict

MODEL = Model(build_icassp_2022_model_path(FilenameSuffix.onnx))
OVERLAP = 30 * FFT_HOP  # as its `run_inference` cuts them
WINDOW_S, STEP_S, MARGIN_S = (n / AUDIO_SAMPLE_RATE for n in (AUDIO_N_SAMPLES, AUDIO_N_SAMPLES - OVERLAP, OVERLAP / 2))


def transcribe(audio: np.ndarray, rate: int) -> Iterator[harness.Note]:
    """Its defaults, on a file, as it wants it."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        soundfile.write(file.name, audio, rate)
        _, _, events = predict(file.name, MODEL)
    for onset, offset, midi, strength, _ in sorted(events):
        window = max(0, int((onset + MARGIN_S) / STEP_S))  # the windows begin MARGIN_S before the recording
        yield onset, offset, midi, window * STEP_S - MARGIN_S + WINDOW_S, float(strength)


if __name__ == "__main__":
    harness.serve(transcribe)
