"""The melody that carries a short authentication string: symbols <-> notes, over an alphabet of "two combs".

Sixteen semitones; notes alternate between the eight even and the eight odd ones, three bits a note. So a note never repeats,
the candidates of one slot lie a whole tone apart, and a slipped slot shows as the wrong comb. Lead-in, close and alarm are
runs within one comb, which no body can contain.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from rtmelody.errors import MelodyError

LOWEST_PITCH = 72  # C5: small loudspeakers play it, and a recognizer hears it soon
ALPHABET = 16  # semitones, from LOWEST_PITCH up
BITS = 3  # a note
COMB = 8  # notes in a comb
SLOT_S = 0.125
TONE_S = 0.100  # of a slot; the rest is silent


class Role(Enum):
    """Who speaks: the initiator's lead-in rises, the responder's falls."""

    INITIATOR = (4, 6, 8, 10)
    RESPONDER = (10, 8, 6, 4)

    @property
    def lead_in(self) -> tuple[int, ...]:
        """Semitones above LOWEST_PITCH."""
        return self.value

    @property
    def other(self) -> "Role":
        """The peer's."""
        return Role.RESPONDER if self is Role.INITIATOR else Role.INITIATOR


LEAD_IN_NOTES = 4
CLOSE = (9, 7)
ALARM = (0, 14, 0, 14)  # as unlike music as can be: leaps within a comb


@dataclass(frozen=True, slots=True)
class Melody:
    """One framed melody: who plays it, and the symbols (0…7) of its body; None is an erasure, a note that was not heard.

    `contested`: so many foreign notes sounded between its own that there may have been a second one.
    """

    role: Role
    symbols: tuple[int | None, ...]
    contested: bool = False

    def distance(self, truth: Sequence[int]) -> int:
        """Notes that are wrong or missing.

        Raises MelodyError if the lengths differ: such a melody is not compared at all.
        """
        if len(self.symbols) != len(truth):
            raise MelodyError(f"A melody of {len(truth)} notes was expected, not one of {len(self.symbols)}.")
        return sum(heard != true for heard, true in zip(self.symbols, truth, strict=True))


def symbols_of(data: bytes, count: int) -> tuple[int, ...]:
    """The first `count` symbols of three bits, most significant bits first.

    Raises ValueError if the data is too short.
    """
    if 8 * len(data) < BITS * count:
        raise ValueError(f"{count} symbols need {BITS * count} bits")
    number = int.from_bytes(data, "big") >> (8 * len(data) - BITS * count)
    return tuple((number >> (BITS * (count - 1 - place))) & (COMB - 1) for place in range(count))


def notes_of(role: Role, symbols: Sequence[int]) -> tuple[int, ...]:
    """MIDI numbers of the whole melody, one a slot: lead-in, body, close."""
    body = (2 * symbol + comb_of(place) for place, symbol in enumerate(symbols))
    return tuple(LOWEST_PITCH + step for step in (*role.lead_in, *body, *CLOSE))


def alarm_notes() -> tuple[int, ...]:
    """MIDI numbers of the alarm, which makes whoever hears it abort."""
    return tuple(LOWEST_PITCH + step for step in ALARM)


def comb_of(place: int) -> int:
    """The comb of a body's slot: 0 the even semitones, 1 the odd ones. The first is odd, since lead-ins end on an even note."""
    return (place + 1) % 2


def symbol_of(step: int, place: int) -> int | None:
    """The symbol that a semitone means in a body's slot; None if it is on the wrong comb."""
    return step // 2 if 0 <= step < ALPHABET and step % 2 == comb_of(place) else None
