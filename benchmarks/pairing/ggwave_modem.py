"""ggwave, a modem for sound (PyPI: ggwave 0.4), in an environment of its own: `encode` or `decode` an .npz of payloads.

encode IN OUT: arrays of bytes -> 48 kHz samples. decode IN OUT: samples -> the bytes that were heard, or none. As many arrays
as come; protocol 1 ("audible, fast") at full volume.
"""

# /// script
# dependencies = ["numpy", "ggwave==0.4.3"]
# [tool.benchmarks]
# peer = "ggwave"
# ///

import sys

import ggwave
import numpy as np

PROTOCOL, VOLUME = 1, 100
CHUNK = 1024  # samples a call takes


def encode(payload: np.ndarray) -> np.ndarray:
    """Bytes as sound."""
    sound = ggwave.encode(payload.tobytes(), protocolId=PROTOCOL, volume=VOLUME)
    return np.frombuffer(sound, np.float32)


def decode(samples: np.ndarray) -> np.ndarray:
    """The first payload in the sound; empty if there is none."""
    instance = ggwave.init()
    try:
        for start in range(0, len(samples), CHUNK):
            heard = ggwave.decode(instance, np.resize(samples[start : start + CHUNK], CHUNK).astype(np.float32).tobytes())
            if heard:
                return np.frombuffer(heard, np.uint8)
        return np.zeros(0, np.uint8)
    finally:
        ggwave.free(instance)


if __name__ == "__main__":
    ggwave.disableLog()
    verb, source, target = sys.argv[1:]
    with np.load(source) as arrays:
        np.savez(target, **{name: {"encode": encode, "decode": decode}[verb](array) for name, array in arrays.items()})
