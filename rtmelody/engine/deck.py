"""What of a session is recorded: one recorder after the other, or none."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtmelody.io.session import Entry, SessionRecorder


class Deck:
    """Takes what is heard and told, and keeps it while somebody wants that; may be switched on and off from another thread."""

    def __init__(self, folder: Path | None, lost: int, seconds: Callable[[], float]) -> None:
        """Record into `folder`, if there is one, after `lost` items were lost before; `seconds` tells the session's time."""
        self._folder, self._lost, self._seconds = folder, lost, seconds
        self._rate: float | None = None  # of the input, once there is one
        self._recorder: SessionRecorder | None = None
        self._switching = threading.Lock()  # never held to put something: a disk may take its time

    @property
    def running(self) -> bool:
        """Whether anything is recorded."""
        return self._recorder is not None

    @property
    def lost(self) -> int:
        """Blocks and events that the disk did not take, of all recordings."""
        recorder = self._recorder
        return self._lost + (recorder.lost if recorder else 0)

    def put(self, item: NDArray[np.float32] | Entry) -> None:
        """Keep samples or an event, if anything is recorded; never waits."""
        if recorder := self._recorder:
            recorder.put(item)

    def open_input(self, rate: float, since_s: float) -> None:
        """The next samples have this rate, and are heard so late in the session.

        Raises OutputError if they are wanted, and the folder cannot be written.
        """
        with self._switching:
            self._rate = rate
            if self._recorder and self._recorder.sample_rate != rate:
                self._stop()
            if self._recorder:
                self._recorder.put(since_s)
            elif self._folder:
                self._start(self._folder, rate, since_s)

    def close_input(self) -> None:
        """Nothing is heard until the next input, which may have another rate: no recording begins before it."""
        with self._switching:
            self._rate = None

    def switch(self, folder: Path | None) -> None:
        """Record into a folder from now on, or no more; once there is an input.

        Raises OutputError if the folder cannot be written.
        """
        with self._switching:
            self._folder = folder
            if folder is None:
                self._stop()
            elif self._rate and not self._recorder:
                self._start(folder, self._rate, self._seconds())

    def close(self) -> None:
        """Complete what is recorded."""
        with self._switching:
            self._stop()

    def _start(self, folder: Path, rate: float, since_s: float) -> None:
        recorder = SessionRecorder(folder, rate, since_s)
        recorder.put(max(since_s, self._seconds()))  # what was played while the files were made is silence
        self._recorder = recorder

    def _stop(self) -> None:
        if recorder := self._recorder:
            recorder.close()
            self._recorder, self._lost = None, self._lost + recorder.lost
