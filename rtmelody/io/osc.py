"""Notes as OSC messages over UDP, through python-osc: for programs that want cents and confidence too."""

import socket
from contextlib import suppress
from typing import Any

from pythonosc.udp_client import SimpleUDPClient

from rtmelody.config import PORTS
from rtmelody.errors import ConfigError
from rtmelody.events import Event, NoteOn

ON, OFF, BEND, PANIC = "/rtmelody/on", "/rtmelody/off", "/rtmelody/bend", "/rtmelody/panic"


class OscPort:
    """Sends `/rtmelody/on pitch velocity confidence cents`, `/rtmelody/bend cents`, `/rtmelody/off pitch`, `/rtmelody/panic`.

    Whether anybody is there, UDP does not say; what the network refuses is lost.
    """

    def __init__(self, address: str) -> None:
        """Send to HOST:PORT.

        Raises ConfigError if that is no address.
        """
        try:
            self._client = SimpleUDPClient(*_resolved(address))
        except (ValueError, socket.gaierror) as error:
            raise ConfigError(f"{address!r} is no address for OSC: give HOST:PORT, for example 127.0.0.1:9000.") from error

    def send(self, event: Event) -> None:
        """Send a note event."""
        if isinstance(event, NoteOn):
            self._send(ON, [event.pitch, event.velocity, event.confidence, event.cents])
        else:
            self._send(OFF, event.pitch)

    def bend(self, cents: float) -> None:
        """Send how far the sounding note is from its pitch."""
        self._send(BEND, cents)

    def panic(self) -> None:
        """Say that nothing sounds any more: the process that began a note may be gone."""
        self._send(PANIC, [])

    def close(self) -> None:
        """Send nothing more."""
        self._client.close()

    def _send(self, address: str, values: Any) -> None:
        with suppress(OSError):
            self._client.send_message(address, values)


def _resolved(address: str) -> tuple[str, int]:
    """The number of a host, and its port: the client would ask for a name with every message, and every note would wait.

    Raises ValueError or socket.gaierror for what is no address.
    """
    host, _, port = address.rpartition(":")
    if int(port) not in PORTS:
        raise ValueError(port)
    found = socket.getaddrinfo(host.strip("[]") or "127.0.0.1", int(port), type=socket.SOCK_DGRAM)
    resolved = min(found, key=lambda one: one[0] != socket.AF_INET)[-1]  # whoever has both listens at that one more often
    return str(resolved[0]), int(port)
