"""Raw PCM from a pipe, as other programs write it: mono, without a header."""

import os
import threading
import time

import numpy as np
from numpy.typing import NDArray

from rtmelody.config import Audio
from rtmelody.core.ring import Ring
from rtmelody.errors import AudioDeviceError, ConfigError

SAMPLE_RATE = 48_000  # where none is set
BLOCK = 4_096  # bytes at most
FULL_SCALE = {"s16le": 2**15, "s24le": 2**23, "s32le": 2**31}
WAIT_S = 0.001  # for room in the ring


class PcmInput:
    """Fills a ring from a file descriptor, no faster than it is emptied: nothing is lost, however fast samples come."""

    def __init__(self, settings: Audio, descriptor: int) -> None:
        """Read from the descriptor, which stays the caller's, at the sample rate and in the format of the settings.

        Raises ConfigError for another channel than the first: there is only one.
        """
        if settings.channel > 1:
            raise ConfigError("Samples on standard input have one channel: send mono, and leave --channel out.")
        self.sample_rate: float = settings.sample_rate or SAMPLE_RATE
        self.xruns = 0
        self.ring = Ring(max(round(settings.ring_s * self.sample_rate), BLOCK))
        self._format, self._descriptor = settings.pcm, descriptor
        self._stopping, self._failure = threading.Event(), ""
        self._thread = threading.Thread(target=self._read, name="pcm", daemon=True)

    @property
    def finished(self) -> bool:
        """Whether the input has ended.

        Raises AudioDeviceError if it cannot be read.
        """
        if self._failure:
            raise AudioDeviceError(f"Standard input cannot be read ({self._failure}): start its sender anew.")
        return not self._thread.is_alive()

    def start(self) -> None:
        """Begin to read."""
        os.set_blocking(self._descriptor, True)  # which others may have changed
        self._thread.start()

    def stop(self) -> bool:
        """Read no more than the block that is awaited."""
        self._stopping.set()
        return True

    def _read(self) -> None:
        """Until the end; what is left of a last, incomplete sample is dropped."""
        size = int(self._format[1:3]) // 8
        rest = b""
        while not self._stopping.is_set() and (data := self._next()):
            data = rest + data
            whole = len(data) // size * size
            rest = data[whole:]
            samples = decoded(data[:whole], self._format)
            while self.ring.space < len(samples) and not self._stopping.is_set():
                time.sleep(WAIT_S)
            self.ring.write(samples)

    def _next(self) -> bytes:
        """What has come; nothing at the end."""
        try:
            return os.read(self._descriptor, BLOCK)
        except OSError as error:
            self._failure = str(error)
            return b""


def decoded(data: bytes, pcm: str) -> NDArray[np.float32]:
    """Samples (full scale ±1) of whole ones in a format: s16le, s24le, s32le or f32le."""
    if pcm == "f32le":
        return np.frombuffer(data, "<f4").astype(np.float32)
    if pcm == "s24le":  # its three bytes are the upper ones of four
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        data, pcm = padded.tobytes(), "s32le"
    return (np.frombuffer(data, f"<i{int(pcm[1:3]) // 8}") / FULL_SCALE[pcm]).astype(np.float32)
