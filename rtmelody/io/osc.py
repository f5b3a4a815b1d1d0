"""Notes as OSC messages over UDP, through python-osc: for programs that want cents and confidence too."""

import socket

from pythonosc.udp_client import SimpleUDPClient

from rtmelody.errors import ConfigError
from rtmelody.events import Event, NoteOn

ON, OFF = "/rtmelody/on", "/rtmelody/off"


class OscSender:
    """Sends `/rtmelody/on pitch velocity confidence cents` and `/rtmelody/off pitch` to an address, whoever is there."""

    def __init__(self, address: str) -> None:
        """Send to HOST:PORT.

        Raises ConfigError if that is no address.
        """
        host, _, port = address.rpartition(":")
        try:
            self._client = SimpleUDPClient(host or "127.0.0.1", int(port))
        except (ValueError, OverflowError, socket.gaierror) as error:
            raise ConfigError(f"{address!r} is no address for OSC: give HOST:PORT, for example 127.0.0.1:9000.") from error

    def send(self, event: Event) -> None:
        """Send a note event; what the network refuses is lost, as UDP may lose anything."""
        try:
            if isinstance(event, NoteOn):
                self._client.send_message(ON, [event.pitch, event.velocity, event.confidence, event.cents])
            else:
                self._client.send_message(OFF, event.pitch)
        except OSError:
            return
