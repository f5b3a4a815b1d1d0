"""Between one engine and many viewers: it looks after the engine, and hands everyone what is new, whoever keeps up."""

import asyncio
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from rtmelody.config import Config, Speed
from rtmelody.core.score import Follower, ScoreNote
from rtmelody.engine.engine import Engine
from rtmelody.errors import RtmelodyError
from rtmelody.events import Note, Told, ToldAll, ToldOff, ToldOn, ToldProvisional, finished

POLL_S = 0.005
SHOWN_S = 0.033  # so often the state is told, if nothing happens
WAITING = 256  # messages that may wait for a viewer: older ones are dropped
HIGHEST_THRESHOLD = 0.95
REMEMBERED = 200  # events that a new viewer is told
KEPT = 20_000  # notes of a session that a report takes

encode = msgspec.json.Encoder().encode


class Viewer:
    """One page. What it does not take in time is dropped, oldest first, and counted."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque(maxlen=WAITING)
        self._news = asyncio.Event()
        self.dropped = 0

    def put(self, message: bytes) -> None:
        """Let it have a message; never waits."""
        self.dropped += len(self._waiting) == WAITING
        self._waiting.append(message)
        self._news.set()

    async def next(self) -> bytes:
        """The next message."""
        while not self._waiting:
            self._news.clear()
            await self._news.wait()
        return self._waiting.popleft()


class Hub:
    """Everything that the monitor knows. All in one thread: that of the event loop."""

    def __init__(self, engine: Engine, config: Config, records: Path, score: list[ScoreNote] | None = None) -> None:
        """Watch an engine that has been started; recordings go to the folder `records`."""
        self._engine = engine
        self.viewers: set[Viewer] = set()
        self.dropped = 0  # messages, of viewers that have left
        self.recent: deque[bytes] = deque(maxlen=REMEMBERED)
        self.score = score
        self._told: deque[Told] = deque(maxlen=2 * KEPT)  # each with its end
        self._follower = Follower(score, remember=False) if score else None
        self._settings: dict[str, Any] = {
            "threshold": config.tracker.on_probability,
            "lowest_threshold": config.tracker.off_probability,
            "speed": config.tracker.speed,
            "muted": False,
        }
        self._commands: dict[str, Callable[[Any], None]] = {
            "panic": lambda _: engine.panic(),
            "mute": self._mute,
            "threshold": self._threshold,
            "speed": self._speed,
            "record": lambda on: engine.record(records if on else None),
        }
        self.failed: RtmelodyError | None = None  # what ended it all
        self.on_end: Callable[[], None] = lambda: None  # when nothing more will be heard

    @property
    def snapshot(self) -> Any:
        """The engine's state."""
        return self._engine.snapshot

    async def run(self) -> None:
        """Until it is cancelled, or the engine cannot go on."""
        shown_at, shown = 0.0, (None, None)
        loop = asyncio.get_running_loop()
        while True:
            try:
                for line in self._engine.tend():
                    self._tell({"fault": line}, keep=True)
            except RtmelodyError as error:
                self.failed = error
                self._tell({"fault": str(error)}, keep=True)
                self.on_end()
                return
            self.drain()
            if self._engine.ended:
                self.on_end()
                return
            now, state = loop.time(), (self.snapshot.pending, self.snapshot.sounding)
            if state != shown or now - shown_at >= SHOWN_S:
                shown_at, shown = now, state
                self._tell({"state": msgspec.structs.asdict(self.snapshot) | self._settings})
            await asyncio.sleep(POLL_S)

    def join(self) -> Viewer:
        """A new viewer, told what it missed."""
        viewer = Viewer()
        if self.score:
            viewer.put(encode({"score": self.score}))
        for message in self.recent:
            viewer.put(message)
        self.viewers.add(viewer)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """It has gone."""
        self.viewers.discard(viewer)
        self.dropped += viewer.dropped

    def command(self, message: str) -> None:
        """Carry out what a page asks: {"do": name, "value": …}; anything else is ignored."""
        try:
            wish = msgspec.json.decode(message)
            self._commands[wish["do"]](wish.get("value"))
        except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
            return

    def drain(self) -> None:
        """Hear what the engine has told since the last time."""
        for event in self._engine.events():
            self._hear(event)

    def heard(self) -> list[Note]:
        """The performance so far; the note that sounds ends with the decision for it, as yet."""
        last = self._told[-1] if self._told else None
        return finished([*self._told, *([ToldOff(last.at, last.midi)] if isinstance(last, ToldOn) else [])])

    def _hear(self, event: ToldAll) -> None:
        """An event for everybody, and for the score if it is certain."""
        message: dict[str, Any] = {"event": event}
        if isinstance(event, ToldProvisional):
            self._tell(message)
            return
        self._told.append(event)
        if self._follower and isinstance(event, ToldOn):
            message["place"] = self._follower.hear(event.onset, event.midi)
        self._tell(message, keep=True)

    def _tell(self, message: dict[str, Any], keep: bool = False) -> None:
        encoded = encode(message)
        if keep:
            self.recent.append(encoded)
        for viewer in self.viewers:
            viewer.put(encoded)

    def _mute(self, muted: Any) -> None:
        self._settings["muted"] = bool(muted)
        self._engine.mute(bool(muted))

    def _threshold(self, value: Any) -> None:
        self._settings["threshold"] = min(HIGHEST_THRESHOLD, max(self._settings["lowest_threshold"], float(value)))
        self._engine.threshold(self._settings["threshold"])

    def _speed(self, speed: Any) -> None:
        self._settings["speed"] = msgspec.convert(speed, Speed)
        self._engine.speed(self._settings["speed"])
