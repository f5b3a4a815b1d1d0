"""Bytes that travel as notes: Reed-Solomon over GF(64) and a checksum, two notes a symbol (pairing by sound alone).

A symbol of six bits is a note on the odd comb and one on the even comb. Past its bound a Reed-Solomon decoder now and then
finds another codeword, hence the checksum.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from reedsolo import ReedSolomonError, RSCodec

from rtmelody.errors import MelodyError
from rtmelody.pairing.melody import BITS

SYMBOL_BITS = 2 * BITS
PARITY = 16  # symbols: eight wrong ones, or sixteen erased ones, are put right
HEADER_BITS, CHECKSUM_BITS = 6, 20
FIELD = 63  # symbols in the longest block
POLYNOMIAL = 0x43  # x^6 + x + 1


class Kind(IntEnum):
    """What a frame holds; its number is the header."""

    COMMITMENT = 1
    RESPONDER_KEY = 2
    INITIATOR_KEY = 3


BYTES = {Kind.COMMITMENT: 16, Kind.RESPONDER_KEY: 32, Kind.INITIATOR_KEY: 32}


@dataclass(frozen=True, slots=True)
class Frame:
    """Data of the length that belongs to its kind."""

    kind: Kind
    data: bytes

    def symbols(self) -> tuple[int, ...]:
        """The body of the melody: symbols of three bits, two a Reed-Solomon symbol."""
        content = self.kind << 8 * len(self.data) | int.from_bytes(self.data, "big")
        bits = HEADER_BITS + 8 * len(self.data)
        number = content << CHECKSUM_BITS | _checksum(content, bits)
        count = _symbols(self.kind) - PARITY
        padded = number << (SYMBOL_BITS * count - bits - CHECKSUM_BITS)
        message = [padded >> SYMBOL_BITS * place & FIELD for place in reversed(range(count))]
        return tuple(half for symbol in _codec().encode(message) for half in divmod(symbol, 1 << BITS))

    @classmethod
    def read(cls, kind: Kind, notes: Sequence[int | None]) -> "Frame":
        """The frame of a kind that is in a body as it was heard; None is an erasure.

        Raises MelodyError if more is missing or wrong than the code can mend, or it is another kind of frame.
        """
        if len(notes) != notes_in(kind):
            raise _unreadable()
        pairs = list(zip(notes[::2], notes[1::2], strict=True))
        received = [0 if first is None or second is None else first << BITS | second for first, second in pairs]
        erased = [place for place, pair in enumerate(pairs) if None in pair]
        if len(erased) > PARITY:
            raise _unreadable()
        try:
            message = _codec().decode(received, erase_pos=erased)[0]
        except ReedSolomonError as error:
            raise _unreadable() from error
        number = sum(symbol << SYMBOL_BITS * place for place, symbol in enumerate(reversed(message)))
        bits = HEADER_BITS + 8 * BYTES[kind]
        number >>= SYMBOL_BITS * len(message) - bits - CHECKSUM_BITS
        content, checksum = number >> CHECKSUM_BITS, number & (1 << CHECKSUM_BITS) - 1
        if checksum != _checksum(content, bits) or content >> 8 * BYTES[kind] != kind:
            raise _unreadable()
        return cls(kind, (content & (1 << 8 * BYTES[kind]) - 1).to_bytes(BYTES[kind], "big"))


def notes_in(kind: Kind) -> int:
    """How many notes the body of such a frame has."""
    return 2 * _symbols(kind)


def _symbols(kind: Kind) -> int:
    """Reed-Solomon symbols of a block."""
    return -(-(HEADER_BITS + 8 * BYTES[kind] + CHECKSUM_BITS) // SYMBOL_BITS) + PARITY


def _codec() -> RSCodec:
    """A new one each time: it is not thread-safe."""
    return RSCodec(PARITY, nsize=FIELD, c_exp=SYMBOL_BITS, prim=POLYNOMIAL)


def _checksum(content: int, bits: int) -> int:
    """The low bits of CRC-32 over header and data."""
    return zlib.crc32(content.to_bytes(-(-bits // 8), "big")) & (1 << CHECKSUM_BITS) - 1


def _unreadable() -> MelodyError:
    return MelodyError("Too much of the melody could not be read: bring the devices closer, or find a quieter place.")
