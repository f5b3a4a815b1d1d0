"""Files in place of a microphone and a loudspeaker: for tests, demonstrations, and cables that are files."""

import threading
import time
import wave
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from rtmelody.core.ring import Ring
from rtmelody.errors import AudioFileError, OutputError
from rtmelody.io.files import UNKNOWN_LENGTH

BLOCK_S = 0.01
CUSHION_S = 0.15  # of sound is waited for before it is passed on, since its writer may stutter
POLL_S = 0.05
FULL_SCALE = 32_767


class RecordedMicrophone:
    """A recording at the pace of the clock, then silence; another process may still be writing it."""

    def __init__(self, path: Path, patience_s: float, stopping: threading.Event) -> None:
        """Wait until the file is there.

        Raises AudioFileError if it is no audio, or nobody has written it in time.
        """
        self._path, self._read, self._stopping = path, 0, threading.Event()
        self.sample_rate = float(self._when_there(patience_s, stopping))
        self.ring = Ring(round(self.sample_rate))
        self.xruns = 0
        self.finished = False
        self._thread = threading.Thread(target=self._play, daemon=True)

    def start(self) -> None:
        """Begin to play."""
        self._thread.start()

    def stop(self) -> bool:
        """Break off."""
        self._stopping.set()
        return True

    def _when_there(self, patience_s: float, stopping: threading.Event) -> int:
        until = time.monotonic() + patience_s
        while time.monotonic() < until and not stopping.is_set():
            if self._path.exists() and self._path.stat().st_size:
                try:
                    return int(soundfile.info(self._path).samplerate)
                except soundfile.LibsndfileError as error:
                    raise AudioFileError(f"{self._path} is not audio that can be read: {error.error_string}") from error
            time.sleep(POLL_S)
        raise AudioFileError(f"Cannot read {self._path}: nobody has written it.")

    def _play(self) -> None:
        block = round(BLOCK_S * self.sample_rate)
        waiting = np.zeros(0, np.float32)
        begun, began, count = False, time.monotonic(), 0
        while not self._stopping.wait(max(0.0, began + count * BLOCK_S - time.monotonic())):
            if len(news := self._news()):
                waiting = np.concatenate((waiting, news))
            begun = begun or len(waiting) >= CUSHION_S * self.sample_rate
            now, waiting = (waiting[:block], waiting[block:]) if begun and len(waiting) >= block else (waiting[:0], waiting)
            self.ring.write(now if len(now) else np.zeros(block, np.float32))
            count += 1

    def _news(self) -> NDArray[np.float32]:
        """What has been written since."""
        try:
            with soundfile.SoundFile(self._path) as file:
                if file.frames < self._read:  # it was left from an earlier time, and is written anew
                    self._read = 0
                file.seek(self._read)
                samples: NDArray[np.float32] = file.read(dtype="float32", always_2d=True).mean(axis=1)
        except soundfile.LibsndfileError:  # it has no header yet, or is being replaced
            return np.zeros(0, np.float32)
        self._read += len(samples)
        return samples


class RecordedLoudspeaker:
    """A 16-bit WAV file that grows with what is played."""

    def __init__(self, path: Path, sample_rate: float) -> None:
        """Begin the file.

        Raises OutputError if that cannot be.
        """
        try:
            self._bytes = path.open("wb")
        except OSError as error:
            raise OutputError(f"Cannot write {path}: {error.strerror}.") from error
        self._file = wave.Wave_write(self._bytes)
        self._file.setparams((1, 2, round(sample_rate), UNKNOWN_LENGTH // 2, "NONE", ""))
        self._file.writeframesraw(b"")
        self._bytes.flush()  # the header at once: who waits for the file reads it whole or not at all

    def start(self) -> None:
        """Nothing: it plays what is written."""

    def write(self, samples: NDArray[np.float32]) -> None:
        """Play mono samples after those that were written already."""
        self._file.writeframesraw((np.clip(samples, -1, 1) * FULL_SCALE).astype("<i2").tobytes())
        self._bytes.flush()

    def stop(self) -> bool:
        """Complete the file."""
        self._file.close()
        self._bytes.close()
        return True
