"""A ring buffer for one writer and one reader, each in its own thread; one of them is an audio callback."""

import numpy as np
from numpy.typing import NDArray


class Ring:
    """Samples on their way from the callback to the recognizer, or from a voice to the callback.

    The writer moves only `_written`, the reader only `_read`; both count samples for ever, so neither needs a lock. `write`
    copies and counts, and does nothing else: it is safe in a PortAudio callback.
    """

    def __init__(self, capacity: int) -> None:
        """Hold up to `capacity` samples."""
        self._buffer = np.zeros(capacity, np.float32)
        self._written = 0
        self._read = 0
        self.overflows = 0  # blocks dropped because the reader was late

    @property
    def space(self) -> int:
        """Samples that could be written now."""
        return self._buffer.size - (self._written - self._read)

    def write(self, block: NDArray[np.float32]) -> None:
        """Copy a block in; drop it whole and count an overflow if it does not fit."""
        size = self._buffer.size
        if len(block) > self.space:
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

    def read_into(self, block: NDArray[np.float32]) -> None:
        """Fill a block with what has been written, and with silence after that; safe in a PortAudio callback."""
        size = self._buffer.size
        place, count = self._read % size, min(len(block), self._written - self._read)
        head = min(count, size - place)
        block[:head] = self._buffer[place : place + head]
        block[head:count] = self._buffer[: count - head]
        block[count:] = 0.0
        self._read += count  # last: only now may the writer use the space
