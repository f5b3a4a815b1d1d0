"""PESTO 2.0.1, streamed in steps of 10 ms; f0 to notes by our rule, voiced by an energy gate.

The half of its kernels that reaches into the future is mirrored (`mirror`), as its authors stream it: waiting for that half
instead made it 90 ms later, and no better live, on melodies rendered with FluidR3_GM.
"""

# /// script
# dependencies = ["torch==2.13.0", "omegaconf", "scipy", "tqdm", "numpy", "soundfile"]
# [tool.benchmarks]
# peer = "pesto-pitch"
# without-dependencies = ["pesto-pitch==2.0.1"]  # see torchaudio below
# ///

import harness  # isort: skip (times the start-up)

import sys
from collections.abc import Iterator
from types import ModuleType

sys.modules["torchaudio"] = ModuleType("torchaudio")  # it would only read files, and needs CUDA's libraries

import numpy as np
import torch
from f0_to_notes import Frame, segment
from pesto import load_model

STEP_S = 0.010
DELAY_S = STEP_S / 2  # an estimate speaks of the middle of its step
GATE_DB = -55.0  # its confidence tells voices from noise, but refuses high notes: energy serves better
torch.set_num_threads(1)


def transcribe(audio: np.ndarray, rate: int) -> Iterator[harness.Note]:
    """A fresh model for every recording: its buffers remember."""
    return segment(_frames(audio, rate), audio, rate)


@torch.inference_mode()
def _frames(audio: np.ndarray, rate: int) -> Iterator[Frame]:
    model = load_model("mir-1k_g7", step_size=1000 * STEP_S, sampling_rate=rate, streaming=True, mirror=1.0, max_batch_size=1)
    step = round(STEP_S * rate)
    for block, there in harness.blocks(audio, step):
        estimate = model(torch.from_numpy(block)[None], convert_to_freq=True, return_activations=False)
        f0, confidence, _ = (float(value.squeeze()) for value in estimate)
        time = there / rate - DELAY_S
        spoken_of = audio[max(0, round(time * rate) - step) : max(1, round(time * rate) + step)]
        loud = 10 * np.log10(np.mean(spoken_of**2) + 1e-12) > GATE_DB
        yield Frame(time, there / rate, f0 if loud else None, confidence)


if __name__ == "__main__":
    harness.serve(transcribe)
