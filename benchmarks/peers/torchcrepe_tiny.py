"""torchcrepe, tiny model, argmax decoding, windows of 64 ms every 10 ms; f0 to notes by our rule."""

# /// script
# dependencies = ["torch==2.13.0", "librosa", "resampy", "scipy", "tqdm", "soxr", "setuptools<80", "numpy", "soundfile"]
# [tool.benchmarks]
# peer = "torchcrepe"
# without-dependencies = ["torchcrepe==0.0.24"]  # see torchaudio below
# ///

import harness  # isort: skip (times the start-up)

import sys
from collections.abc import Iterator
from types import ModuleType

sys.modules["torchaudio"] = ModuleType("torchaudio")  # it would only read files, and needs CUDA's libraries

import numpy as np
import soxr
import torch
import torchcrepe
from f0_to_notes import Frame, segment

RATE, HOP, WINDOW = 16_000, 160, 1_024
VOICED = 0.21  # the threshold of its README
torch.set_num_threads(1)


def transcribe(audio: np.ndarray, rate: int) -> Iterator[harness.Note]:
    """A frame is available when its window, of which it is the centre, is complete."""
    sound = torch.from_numpy(soxr.resample(audio, rate, RATE))[None]
    options = {"model": "tiny", "decoder": torchcrepe.decode.weighted_argmax, "return_periodicity": True, "device": "cpu"}
    f0, periodicity = torchcrepe.predict(sound, RATE, HOP, 50.0, 2006.0, batch_size=64, **options)
    return segment(_frames(f0[0].numpy(), periodicity[0].numpy()), audio, rate)


def _frames(f0: np.ndarray, periodicity: np.ndarray) -> Iterator[Frame]:
    for number, (hertz, voiced) in enumerate(zip(f0, periodicity, strict=True)):
        time = number * HOP / RATE
        yield Frame(time, time + WINDOW / 2 / RATE, float(hertz) if voiced >= VOICED else None, float(voiced))


if __name__ == "__main__":
    harness.serve(transcribe)
