"""What paired devices say to each other: records under the two keys of the pairing, and the identity that a device keeps.

ChaCha20-Poly1305 (RFC 8439), the nonce a count: a record that is changed, left out, repeated or put elsewhere is refused.
Ed25519 (RFC 8032): a device signs the transcript, so that its signature is of no use in any other pairing.
"""

from collections.abc import Iterator
from enum import IntEnum

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from rtmelody.errors import ProtocolError
from rtmelody.pairing.crypto import KEY_BYTES, LABEL
from rtmelody.pairing.melody import Role

NONCE_BYTES, TAG_BYTES, LENGTH_BYTES = 12, 16, 2
PART_BYTES = 16_384


class Record(IntEnum):
    """What a record is; its first byte once opened."""

    IDENTITY = 1
    PART = 2  # of a payload
    LAST_PART = 3
    RECEIVED = 4


class Sealer:
    """Seals records for one direction."""

    def __init__(self, key: bytes) -> None:
        """Use a key that nobody else seals with."""
        self._cipher, self._count = ChaCha20Poly1305(key), 0

    def seal(self, record: Record, content: bytes = b"") -> bytes:
        """The record as bytes for the channel."""
        length = (1 + len(content) + TAG_BYTES).to_bytes(LENGTH_BYTES, "big")
        nonce, self._count = self._count.to_bytes(NONCE_BYTES, "big"), self._count + 1
        return length + self._cipher.encrypt(nonce, bytes([record]) + content, length)


class Opener:
    """Opens the records of one direction."""

    def __init__(self, key: bytes) -> None:
        """Use the key that the peer seals with."""
        self._cipher, self._count, self._buffer = ChaCha20Poly1305(key), 0, b""

    def feed(self, data: bytes) -> Iterator[tuple[Record, bytes]]:
        """The records that are whole now, and their contents.

        Raises ProtocolError for whatever the peer has not sealed, here and in this order.
        """
        self._buffer += data
        while len(self._buffer) >= LENGTH_BYTES:
            length = int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
            if not TAG_BYTES < length <= 1 + PART_BYTES + TAG_BYTES:
                raise _forged()
            if len(self._buffer) < LENGTH_BYTES + length:
                return
            head, sealed = self._buffer[:LENGTH_BYTES], self._buffer[LENGTH_BYTES : LENGTH_BYTES + length]
            self._buffer = self._buffer[LENGTH_BYTES + length :]
            nonce, self._count = self._count.to_bytes(NONCE_BYTES, "big"), self._count + 1
            try:
                opened = self._cipher.decrypt(nonce, sealed, head)
                yield Record(opened[0]), opened[1:]
            except (InvalidTag, ValueError) as error:
                raise _forged() from error


def parts(payload: bytes) -> Iterator[tuple[Record, bytes]]:
    """A payload of any length as records' contents."""
    starts = range(0, max(1, len(payload)), PART_BYTES)
    for start in starts:
        yield Record.LAST_PART if start == starts[-1] else Record.PART, payload[start : start + PART_BYTES]


def introduction(identity: Ed25519PrivateKey, role: Role, transcript: bytes) -> bytes:
    """An identity's public key and its signature over this pairing."""
    return identity.public_key().public_bytes_raw() + identity.sign(_signed(role, transcript))


def check_introduction(content: bytes, role: Role, transcript: bytes) -> bytes:
    """The public key with which the peer, who has that role, has signed this pairing.

    Raises ProtocolError if it has not.
    """
    public, signature = content[:KEY_BYTES], content[KEY_BYTES:]
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _signed(role, transcript))
    except (InvalidSignature, ValueError) as error:
        raise ProtocolError("The peer's signature is false: this is an attack or a fault.") from error
    return public


def _signed(role: Role, transcript: bytes) -> bytes:
    return LABEL + b" identity " + role.name.lower().encode() + transcript


def _forged() -> ProtocolError:
    return ProtocolError("Something came that the other device has not sealed: this is an attack or a fault.")
