"""What the engine shows of itself: its status and latest events, in memory that other processes read.

The writer never waits, whoever reads or has stopped reading. A reader looks at a slot's version before and after: if it was
being written, or has been since, the reader looks again (a sequence lock: Lameter, "Effective synchronization on Linux/NUMA
systems", 2005).
"""

import zlib
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from rtmelody.events import ToldAll

SLOT = 240  # bytes of content
EVENTS = 1_024  # slots: fifteen seconds of the fastest playing, with all that is told provisionally
TRIES = 1_000
HEADER = np.dtype([("version", "<u8"), ("size", "<u4"), ("sum", "<u4")])
PLACE = np.dtype([("header", HEADER), ("content", "u1", SLOT)])


class Snapshot(msgspec.Struct, array_like=True):
    """The engine's state, a few times a second at least."""

    at: float = 0.0  # of `time.monotonic`: when this was shown
    seconds: float = 0.0  # of the session
    sample_rate: float = 0.0  # of the input that is open; 0 while there is none
    level_db: float = -120.0
    sounding: int | None = None  # pitch
    cents: float | None = None  # of the sounding note
    pending: int | None = None  # pitch that may be announced next
    recording: bool = False
    a4_hz: float = 440.0  # from which cents are told
    notes: int = 0
    overflows: int = 0
    xruns: int = 0
    faults: int = 0  # times that the input was lost
    unrecorded: int = 0  # blocks and events that the disk could not take
    stalled: bool = False  # a MIDI port takes nothing more
    realtime: bool = False  # the operating system granted a real-time priority


class Board:
    """A place for the state, and a ring of places for events."""

    def __init__(self, memory: Any) -> None:
        """Look at, or write into, what `shared_memory` gave."""
        places = np.frombuffer(memory, PLACE)
        self._state, self._events = places[:1], places[1:]
        self._decode = msgspec.msgpack.Decoder(ToldAll).decode

    # The engine's side.

    def show(self, snapshot: Snapshot) -> None:
        """Replace the state."""
        _write(self._state, 0, self._version(self._state, 0) + 2, msgspec.msgpack.encode(snapshot))

    def post(self, number: int, event: ToldAll) -> None:
        """Add the event that bears a number; they count from 0."""
        _write(self._events, number % EVENTS, 2 * (number + 1), msgspec.msgpack.encode(event))

    # Everybody else's.

    def snapshot(self) -> Snapshot | None:
        """The latest state; None before the first one."""
        for _ in range(TRIES):
            version = self._version(self._state, 0)
            if version == 0:
                return None
            if version % 2 == 0 and (content := _read(self._state, 0, version)):
                return msgspec.msgpack.decode(content, type=Snapshot)
        return None  # or the writer died over it

    def events(self, since: int) -> "News":
        """The events from a number on, and the number to ask for next time."""
        found: list[ToldAll] = []
        missed = 0
        while True:
            version = self._version(self._events, since % EVENTS)
            if version > 2 * (since + 1) + 1:  # overtaken: go on with the oldest that is there
                newer = (version + 1) // 2 - 1
                missed += newer - since - EVENTS + 1
                since = newer - EVENTS + 1
            elif content := _read(self._events, since % EVENTS, 2 * (since + 1)):
                found.append(self._decode(content))
                since += 1
            else:
                return News(found, since, missed)

    def _version(self, places: NDArray[Any], place: int) -> int:
        return int(places["header"]["version"][place])


@dataclass(frozen=True, slots=True)
class News:
    """Events that a reader had not seen; `missed` more came too fast for it."""

    events: list[ToldAll]
    next: int
    missed: int


def shared_memory() -> Any:
    """Memory for a board; processes that are spawned get it as an argument."""
    return get_context("spawn").RawArray("B", PLACE.itemsize * (1 + EVENTS))


def _write(places: NDArray[Any], place: int, version: int, content: bytes) -> None:
    """Fill a place; its version is odd meanwhile."""
    header = places["header"]
    header["version"][place] = version - 1
    header["size"][place], header["sum"][place] = len(content), zlib.crc32(content)
    places["content"][place, : len(content)] = np.frombuffer(content, np.uint8)
    header["version"][place] = version


def _read(places: NDArray[Any], place: int, version: int) -> bytes:
    """What a place holds if that is, all the while, of this version; else nothing.

    Processors that reorder memory (ARM) may show a version before its content: hence the sum.
    """
    header = places["header"]
    if header["version"][place] != version:
        return b""
    content: bytes = places["content"][place, : int(header["size"][place])].tobytes()
    return content if header["version"][place] == version and header["sum"][place] == zlib.crc32(content) else b""
