"""Pipes between two devices that pair: TCP, and standard input and output. Nothing about them is trusted."""

import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Protocol

from rtmelody.errors import PairingError

CHUNK = 4_096
DEFAULT_PORT = 47_600
POLL_S = 0.05
CALL_S = 1.0  # after which an unanswered call is made again
REFUSED_S = 3.0  # for which a refused one is
SEND_S = 10.0  # a peer that takes nothing for so long has gone


class Channel(Protocol):
    """Bytes both ways; neither call waits for the peer."""

    def receive(self) -> bytes:
        """What has come; perhaps nothing."""

    def send(self, data: bytes) -> None:
        """Give bytes to the peer."""

    def unread(self, data: bytes) -> None:
        """Put back what was read too much; `receive` gives it first."""


class _Unread:
    """What was put back."""

    def __init__(self) -> None:
        self._waiting = b""

    def unread(self, data: bytes) -> None:
        """Put back what was read too much; `receive` gives it first."""
        self._waiting = data + self._waiting

    def _take(self) -> bytes:
        taken, self._waiting = self._waiting, b""
        return taken


class Tcp(_Unread):
    """A TCP connection."""

    def __init__(self, connection: socket.socket) -> None:
        """Talk through a connected socket."""
        super().__init__()
        self._socket = connection
        self._socket.settimeout(SEND_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @classmethod
    def connect(cls, host: str, port: int, patience_s: float, stopping: threading.Event | None = None) -> "Tcp":
        """Call a device that listens, until `stopping` is set.

        Raises PairingError if nobody answers.
        """
        stopping, began, reason = stopping or threading.Event(), time.monotonic(), "no answer"
        try:
            while not stopping.is_set() and time.monotonic() - began < patience_s:
                try:
                    return cls(socket.create_connection((host, port), timeout=min(patience_s, CALL_S)))
                except TimeoutError:  # a signal does not end the system's own wait
                    continue
                except ConnectionRefusedError as error:  # it may be about to listen
                    reason = str(error.strerror)
                    if time.monotonic() - began > REFUSED_S:
                        break
                    stopping.wait(POLL_S)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
        raise PairingError(f"Nobody listens at {host}:{port} ({reason}): start `rtmelody pair listen` (or recv) there.")

    @classmethod
    def accept(cls, host: str, port: int, patience_s: float, stopping: threading.Event | None = None) -> "Tcp":
        """Wait for one call, until `stopping` is set.

        Raises PairingError if the address cannot be used, or nobody calls.
        """
        stopping = stopping or threading.Event()
        try:
            with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as server:
                for _ in range(round(patience_s / POLL_S)):
                    if stopping.is_set():
                        break
                    if select.select([server], [], [], POLL_S)[0]:
                        return cls(server.accept()[0])
                raise PairingError("Nobody called.")
        except (OSError, UnicodeError) as error:
            raise PairingError(f"Cannot listen at {host}:{port}: {getattr(error, 'strerror', None) or error}.") from error

    def receive(self) -> bytes:
        """What has come; perhaps nothing.

        Raises PairingError once the peer has hung up.
        """
        if self._waiting or not select.select([self._socket], [], [], 0)[0]:
            return self._take()
        return _or_gone(lambda: self._socket.recv(CHUNK))

    def send(self, data: bytes) -> None:
        """Give bytes to the peer.

        Raises PairingError if it has hung up.
        """
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise _gone() from error

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


class Stdio(_Unread):
    """Standard input and output, for whoever brings a transport of his own (POSIX)."""

    def __init__(self) -> None:
        """Talk through both.

        Raises PairingError if one is closed.
        """
        super().__init__()
        if not (sys.stdin and sys.stdout):
            raise PairingError("Standard input or output is closed: connect both to the peer.")

    def receive(self) -> bytes:
        """As `Tcp.receive`."""
        if self._waiting or not select.select([sys.stdin], [], [], 0)[0]:
            return self._take()
        return _or_gone(lambda: os.read(sys.stdin.fileno(), CHUNK))

    def send(self, data: bytes) -> None:
        """As `Tcp.send`."""
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except OSError as error:
            raise _gone() from error


def _or_gone(read: Callable[[], bytes]) -> bytes:
    """What was read, unless that is nothing: the end of the stream."""
    try:
        data = read()
    except OSError as error:
        raise _gone() from error
    if not data:
        raise _gone()
    return data


def _gone() -> PairingError:
    return PairingError("The other device has hung up: nothing was paired.")
