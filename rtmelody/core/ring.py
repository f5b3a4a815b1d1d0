"""A ring buffer for one writer (the audio callback) and one reader (the recognizer), each in its own thread."""

import numpy as np
from numpy.typing import NDArray


class Ring:
    """Samples on their way from the callback to the recognizer.

    The writer moves only `_written`, the reader only `_read`; both count samples for ever, so neither needs a lock. `write`
    copies and counts, and does nothing else: it is safe in a PortAudio callback.
    """

    def __init__(self, capacity: int) -> None:
        """Hold up to `capacity` samples."""
        self._buffer = np.zeros(capacity, np.float32)
        self._written = 0
        self._read = 0
        self.overflows = 0  # blocks dropped because the reader was late

    def write(self, block: NDArray[np.float32]) -> None:
        """Copy a block in; drop it whole and count an overflow if it does not fit."""
        size = self._buffer.size
        if len(block) > size - (self._written - self._read):
            self.overflows += 1
            return
        place = self._written % size
        head = min(len(block), size - place)
        self._buffer[place : place + head] = block[:head]
        self._buffer[: len(block) - head] = block[head:]
        self._written += len(block)  # last: only now may the reader see the block

    def read(self) -> NDArray[np.float32]:
        """Take out everything that has been written, as a copy; perhaps nothing."""
        size, written = self._buffer.size, self._written
        place, count = self._read % size, written - self._read
        head = min(count, size - place)
        block: NDArray[np.float32] = np.concatenate((self._buffer[place : place + head], self._buffer[: count - head]))
        self._read = written
        return block
