"""What goes over the data channel: five messages, each of a fixed length, in frames of a type and a length.

One version, one suite, nothing to negotiate: what cannot be chosen cannot be talked down.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from rtmelody.errors import ProtocolError
from rtmelody.pairing.melody import Role

VERSION, SUITE = 1, 1
NONCE_BYTES = 16
HEADER_BYTES = 3  # type 1, length 2, big-endian


class Type(IntEnum):
    """Kinds of messages."""

    HELLO = 1
    COMMIT = 2
    REVEAL = 3
    OPEN = 4
    CONFIRM = 5


LENGTHS = {Type.HELLO: 4 + NONCE_BYTES, Type.COMMIT: 32, Type.REVEAL: 48, Type.OPEN: 48, Type.CONFIRM: 32}
_ROLES = {Role.INITIATOR: 1, Role.RESPONDER: 2}


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the right length for its type."""

    type: Type
    payload: bytes

    def __bytes__(self) -> bytes:
        """The frame."""
        return bytes([self.type]) + len(self.payload).to_bytes(2, "big") + self.payload


def hello(role: Role, nonce: bytes) -> Message:
    """Version, suite, role, flags (none yet) and a nonce."""
    return Message(Type.HELLO, bytes([VERSION, SUITE, _ROLES[role], 0]) + nonce)


def check_hello(payload: bytes, own: bytes, role: Role) -> None:
    """Refuse a peer of another version, of the own role, or one that repeats what it was sent.

    Raises ProtocolError.
    """
    if payload[:2] != bytes([VERSION, SUITE]):
        raise ProtocolError("The peer speaks another version of the pairing protocol: update the older one.")
    if payload[2] != _ROLES[role.other]:
        raise ProtocolError("Both devices want the same role: one must listen, the other connect.")
    if payload[3] != 0 or payload[4:] == own[4:]:
        raise ProtocolError("The peer's greeting is an echo or malformed: this is an attack or a fault.")


class Parser:
    """Bytes as they come -> messages, each as soon as it is whole."""

    def __init__(self) -> None:
        """Begin at the start of a frame."""
        self.rest = b""  # what is not yet a whole message

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are complete now.

        Raises ProtocolError for a type that does not exist or a length that does not belong to it, as soon as it can be seen.
        """
        self.rest += data
        while self.rest:
            try:
                kind = Type(self.rest[0])
            except ValueError as error:
                raise ProtocolError(f"The peer sent something that is no message (type {self.rest[0]}).") from error
            if len(self.rest) < HEADER_BYTES:
                return
            length = int.from_bytes(self.rest[1:HEADER_BYTES], "big")
            if length != LENGTHS[kind]:
                raise ProtocolError(f"The peer sent a {kind.name} of {length} bytes instead of {LENGTHS[kind]}.")
            if len(self.rest) < HEADER_BYTES + length:
                return
            payload = self.rest[HEADER_BYTES : HEADER_BYTES + length]
            self.rest = self.rest[HEADER_BYTES + length :]
            yield Message(kind, payload)
