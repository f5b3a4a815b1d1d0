"""The key agreement: X25519, a hash commitment, HKDF and HMAC, all from `cryptography`.

After S. Vaudenay, Secure Communications over Insecure Channels Based on Short Authenticated Strings (CRYPTO 2005): the
initiator is bound to its key before it sees the responder's, so that a man in the middle has one guess at the short string.
X25519: RFC 7748. HKDF: RFC 5869.
"""

from dataclasses import dataclass, fields

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from rtmelody.errors import ProtocolError

LABEL = b"rtmelody pairing 1"
KEY_BYTES = 32
SPOKEN_COMMITMENT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Keys:
    """What both sides derive, each for the purpose of its name; `sas` is the short authentication string that is played."""

    to_responder: bytes
    to_initiator: bytes
    confirm_initiator: bytes
    confirm_responder: bytes
    exporter: bytes
    sas: bytes

    def __repr__(self) -> str:
        """Say nothing: keys must not end in a log."""
        return "Keys(…)"


def public_bytes(private: X25519PrivateKey) -> bytes:
    """The public key as 32 bytes."""
    return private.public_key().public_bytes_raw()


def commitment(hello_initiator: bytes, hello_responder: bytes, public: bytes, opening: bytes) -> bytes:
    """What the initiator sends before it has seen the responder's key: a hash of its own."""
    return _hash(LABEL + b" commit", hello_initiator, hello_responder, public, opening)


def spoken_commitment(public: bytes) -> bytes:
    """The same for pairing by sound alone, where every byte takes a third of a second: 128 bits."""
    return _hash(LABEL + b" spoken commit", public)[:SPOKEN_COMMITMENT_BYTES]


def spoken_transcript(commitment: bytes, responder: bytes, initiator: bytes) -> bytes:
    """Hash of everything that was said by sound alone."""
    return _hash(LABEL + b" spoken transcript", commitment, responder, initiator)


def transcript_hash(messages: list[bytes]) -> bytes:
    """Hash of everything that was said, each message with its length."""
    return _hash(LABEL + b" transcript", *messages)


def agree(private: X25519PrivateKey, peer: bytes, transcript: bytes) -> Keys:
    """The keys that follow from the X25519 secret and the hash of the transcript.

    Raises ProtocolError for a public key of low order, with which the secret would be known to everybody.
    """
    try:
        secret = private.exchange(X25519PublicKey.from_public_bytes(peer))
    except ValueError as error:
        raise ProtocolError("The peer's public key is of low order: this is an attack or a fault.") from error

    def derive(purpose: str) -> bytes:
        return HKDF(hashes.SHA256(), KEY_BYTES, transcript, LABEL + b" " + purpose.encode()).derive(secret)

    return Keys(*(derive(key.name.replace("_", " ")) for key in fields(Keys)))


def confirmation(key: bytes, transcript: bytes) -> bytes:
    """HMAC-SHA-256 of the transcript: whoever sends it has heard the right melody."""
    mac = hmac.HMAC(key, hashes.SHA256())
    mac.update(transcript)
    return mac.finalize()


def same(one: bytes, other: bytes) -> bool:
    """Equality in constant time."""
    return bytes_eq(one, other)


def _hash(*parts: bytes) -> bytes:
    """SHA-256 over the parts, each preceded by its length, so that no two lists of parts look alike."""
    digest = hashes.Hash(hashes.SHA256())
    for part in parts:
        digest.update(len(part).to_bytes(4, "big") + part)
    return digest.finalize()
