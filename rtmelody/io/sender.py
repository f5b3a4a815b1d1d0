"""The thread between recognition and whoever is played to: it alone waits for ports, whatever becomes of a receiver."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
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


class Sender:
    """Plays on several ports, perhaps none, in the order of the calls, none of which waits."""

    def __init__(self, ports: Sequence[Port] = (), longest_s: float = 0.0) -> None:
        """Play on these; no message will be due later than `longest_s` from its call."""
        self._ports = ports
        self._waiting: queue.SimpleQueue[tuple[float, Callable[[], None]] | None] = queue.SimpleQueue()
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
        """Send a note event at a time of `time.monotonic`; at once if that is past."""
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
        self._waiting.put((NOW, sent.set))
        return sent.wait(self._patience_s)

    def close(self) -> bool:
        """Silence everything and close; whether that came to an end."""
        self._have_all(lambda port: port.close())
        self._waiting.put(None)
        self._thread.join(self._patience_s)
        return not self._thread.is_alive()

    def _have_all(self, act: Callable[[Port], None], due: float = NOW) -> None:
        """Let every port act; one that has gone must not silence the others."""

        def act_all() -> None:
            for port in self._ports:
                try:
                    act(port)
                except (OSError, MidiError):
                    self._failed = True

        self._waiting.put((due, act_all))

    def _serve(self) -> None:
        while (item := self._waiting.get()) is not None:
            due, act = item
            if (early := due - time.monotonic()) > 0:
                time.sleep(early)
            self._busy_since = time.monotonic()
            act()
            self._busy_since = None
