"""The thread between recognition and whoever is played to: it alone waits for ports, whatever becomes of a receiver."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rtmelody.errors import MidiError
from rtmelody.events import Event

STALLED_S = 1.0  # a port that takes so long for one message has died
NOW = 0.0


class Port(Protocol):
    """Something that plays notes. What it cannot do raises OSError or MidiError."""

    def send(self, event: Event) -> None:
        """Begin or end a note."""

    def bend(self, cents: float) -> None:
        """Let the sounding note deviate from its pitch."""

    def panic(self) -> None:
        """Silence everything."""

    def close(self) -> None:
        """Silence everything, and close."""


@dataclass(slots=True)
class _Task:
    """What to do, and when; without a time, after what waits before it. Without an act there is nothing left to do."""

    act: Callable[[], None] | None
    due: float | None = None


class Sender:
    """Plays on several ports, perhaps none, in the order of the calls, none of which waits."""

    def __init__(self, ports: Sequence[Port] = (), longest_s: float = 0.0) -> None:
        """Play on these; no message will be due later than `longest_s` from its call."""
        self._ports = ports
        self._waiting: deque[_Task] = deque()  # those with times in their order
        self._arrived = threading.Condition()
        self._busy_since: float | None = None
        self._failed = False  # whether a port has refused a message
        self._patience_s = STALLED_S + longest_s  # until what waits has been sent
        self._thread = threading.Thread(target=self._serve, name="sender", daemon=True)
        self._thread.start()

    @property
    def stalled(self) -> bool:
        """Whether a port has refused a message, or not taken one for a second: its device or its server has gone."""
        since = self._busy_since
        return self._failed or (since is not None and time.monotonic() - since > STALLED_S)

    def send(self, event: Event, due: float = NOW) -> None:
        """Send a note event at a time of `time.monotonic`, at once if that is past, and what waits before it no later."""
        self._have_all(lambda port: port.send(event), due)

    def bend(self, cents: float, due: float = NOW) -> None:
        """Bend the sounding note, likewise."""
        self._have_all(lambda port: port.bend(cents), due)

    def panic(self) -> None:
        """Silence everything, after what waits."""
        self._have_all(lambda port: port.panic())

    def flush(self) -> bool:
        """Wait until everything has been sent; whether it was, in the time that a living port takes."""
        sent = threading.Event()
        self._put(_Task(sent.set))
        return sent.wait(self._patience_s)

    def close(self) -> bool:
        """Silence everything and close; whether that came to an end."""
        self._have_all(lambda port: port.close())
        self._put(_Task(None))
        self._thread.join(self._patience_s)
        return not self._thread.is_alive()

    def _have_all(self, act: Callable[[Port], None], due: float | None = None) -> None:
        """Let every port act; one that has gone must not silence the others."""

        def act_all() -> None:
            for port in self._ports:
                try:
                    act(port)
                except (OSError, MidiError):
                    self._failed = True

        self._put(_Task(act_all, due))

    def _put(self, task: _Task) -> None:
        """Queue it. What is due later than it, and yet comes before it, as a legato note's end does, must not hold it back."""
        with self._arrived:
            for earlier in self._waiting:
                if earlier.due is not None and task.due is not None:
                    earlier.due = min(earlier.due, task.due)
            self._waiting.append(task)
            self._arrived.notify()

    def _next(self) -> Callable[[], None] | None:
        """Wait for the next task, and until it is due."""
        with self._arrived:
            while True:
                early = _early(self._waiting[0]) if self._waiting else None
                if early == 0.0:
                    return self._waiting.popleft().act
                self._arrived.wait(early)

    def _serve(self) -> None:
        while act := self._next():
            self._busy_since = time.monotonic()
            act()
            self._busy_since = None


def _early(task: _Task) -> float:
    """Seconds until a task is due."""
    return 0.0 if task.due is None else max(0.0, task.due - time.monotonic())
