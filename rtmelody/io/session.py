"""A session on disk: the sound as FLAC, the events as JSON lines, the notes as MIDI.

Sound and events are written while it lasts, by a thread of its own, so that a slow disk delays nobody and a crash costs a
second. The notes are made of the events at the end, or, where a crash came before it, when the next session begins.
"""

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np
import soundfile
from numpy.typing import NDArray

from rtmelody.errors import OutputError
from rtmelody.events import Told, ToldOff, ToldOn, finished
from rtmelody.io.files import make_folder, to_midi, write_whole

SOUND, EVENTS, NOTES = "audio.flac", "events.jsonl", "notes.mid"
FLUSH_S = 1.0
WAITING = 4_000  # blocks and events that may wait for the disk
CLOSING_S = 5.0


class Fault(msgspec.Struct, frozen=True, tag_field="event", tag="fault"):
    """The input was lost."""

    at: float
    message: str


Entry = Told | Fault


class SessionRecorder:
    """Records into a folder of its own, named by date and time. Times are those of the sound, in seconds."""

    def __init__(self, parent: Path, sample_rate: float, since_s: float = 0.0) -> None:
        """Begin, so late in the session; and complete what a crash has left.

        Raises OutputError if the folder cannot be written.
        """
        make_folder(parent)
        complete(parent)
        self.sample_rate, self._since_s = sample_rate, since_s
        self.lost = 0  # blocks and events that the disk could not take
        self._folder = _new_folder(parent)
        try:
            self._lines = (self._folder / EVENTS).open("ab")
            self._sound = soundfile.SoundFile(self._folder / SOUND, "w", round(sample_rate), 1)
        except (OSError, soundfile.LibsndfileError) as error:
            raise OutputError(f"Cannot record into {self._folder}: {error}.") from error
        self._next = 0  # where in the recording the next samples belong
        self._samples = 0  # that are written
        self._waiting: queue.Queue[tuple[int, NDArray[np.float32]] | Entry | None] = queue.Queue(WAITING)
        self._sounding: int | None = None  # pitch of the note that has not ended
        self._thread = threading.Thread(target=self._serve, name="recorder", daemon=True)
        self._thread.start()

    def put(self, item: NDArray[np.float32] | float | Entry) -> None:
        """Take mono samples, an event, or the time in the session at which the next samples were heard; never waits."""
        if isinstance(item, float):
            self._next = max(self._next, round((item - self._since_s) * self.sample_rate))
            return
        try:
            self._waiting.put_nowait((self._next, item) if isinstance(item, np.ndarray) else item)
        except queue.Full:
            self.lost += 1
        if isinstance(item, np.ndarray):
            self._next += len(item)

    def close(self) -> None:
        """Write what waits, and the notes."""
        with suppress(queue.Full):  # the disk hangs
            self._waiting.put(None, timeout=CLOSING_S)
            self._thread.join(CLOSING_S)

    def _serve(self) -> None:
        flushed_at = time.monotonic()
        while (item := self._waiting.get()) is not None:
            with self._disk_may_fail():
                self._write(item)
                if time.monotonic() - flushed_at > FLUSH_S:
                    flushed_at = time.monotonic()
                    self._sound.flush()
                    self._lines.flush()
        if self._sounding is not None:  # the recording ends, and what sounds with it
            with self._disk_may_fail():
                self._write(ToldOff(self._since_s + self._samples / self.sample_rate, self._sounding))
        for close in (self._sound.close, self._lines.close, lambda: _write_notes(self._folder)):
            with self._disk_may_fail():
                close()

    @contextmanager
    def _disk_may_fail(self) -> Iterator[None]:
        """It may be full, or gone: then the music goes on."""
        try:
            yield
        except (OSError, soundfile.LibsndfileError, OutputError, AssertionError):  # soundfile asserts that all was written
            self.lost += 1

    def _write(self, item: tuple[int, NDArray[np.float32]] | Entry) -> None:
        if isinstance(item, tuple):
            begin, samples = item
            while self._samples < begin:  # silence where there was no input, or the disk took none; it may have lasted a night
                self._write_sound(np.zeros(min(begin - self._samples, round(self.sample_rate)), np.float32))
            self._write_sound(samples)
        else:
            if isinstance(item, ToldOn | ToldOff):
                self._sounding = item.midi if isinstance(item, ToldOn) else None
            self._lines.write(msgspec.json.encode(self._in_recording(item)) + b"\n")

    def _write_sound(self, samples: NDArray[np.float32]) -> None:
        self._sound.write(samples)
        self._samples += len(samples)

    def _in_recording(self, entry: Entry) -> Entry:
        """An entry with the times of the recording instead of the session's."""
        at = max(0.0, round(entry.at - self._since_s, 4))
        if isinstance(entry, ToldOn):  # its onset may lie before the recording's beginning
            return msgspec.structs.replace(entry, at=at, onset=max(0.0, round(entry.onset - self._since_s, 4)))
        return msgspec.structs.replace(entry, at=at)


def complete(parent: Path) -> None:
    """Make the notes of every session in a folder that has none, or went on since; a broken one must not spoil the next."""
    for events in parent.glob(f"*/{EVENTS}"):
        written = events.with_name(NOTES)
        with suppress(OSError, ValueError, OutputError):
            if not written.exists() or written.stat().st_mtime < events.stat().st_mtime:
                _write_notes(events.parent)


def _write_notes(folder: Path) -> None:
    """A session's notes; one that goes on yet writes them again at its end."""
    write_whole(folder / NOTES, to_midi(finished(_certain((folder / EVENTS).read_bytes().splitlines()))))


def _new_folder(parent: Path) -> Path:
    """Named by date and time, and a number if there is one of that name."""
    name = f"{datetime.now().astimezone():%Y-%m-%d %H.%M.%S}"
    folder, number = parent / name, 1
    while True:
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
            folder = parent / f"{name} ({number})"
        except OSError as error:
            raise OutputError(f"Cannot make the folder {folder}: {error.strerror}.") from error
        else:
            return folder


def _certain(lines: Iterable[bytes]) -> Iterator[Told]:
    """What began and ended; a line that a crash has cut is left out."""
    for line in lines:
        with suppress(msgspec.DecodeError):
            entry = msgspec.json.decode(line, type=Entry)
            if isinstance(entry, ToldOn | ToldOff):
                yield entry
