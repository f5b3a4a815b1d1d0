"""What every attempt to pair has in common: a table of states, a melody to play and to compare, an end; no I/O, no clock.

A subclass's `TRANSITIONS` is the machine: (state, input) names the next state and what is done on the way. An input that is
not in the table ends the attempt; so does whatever an action refuses. A key is known only in the state PAIRED.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, ClassVar

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from rtmelody.errors import InterferenceError, MismatchError, PairingError, PairingTimeoutError, ProtocolError
from rtmelody.pairing import crypto
from rtmelody.pairing.melody import COMB, SLOT_S, Melody, Role, alarm_notes, notes_of, symbols_of

ANSWER_S = 6.0  # within this time a peer answers, beside the time that its melody takes
ALARMS = 8  # in a row, 4 s: longer than the melody that the peer may be playing, and its wait for an alarm


@dataclass(frozen=True, slots=True)
class Rules:
    """Notes of the short authentication string, and how many of them may be wrong or missing."""

    notes: int = 12
    tolerance: int = 2

    @property
    def attack_probability(self) -> float:
        """Chance that a random melody passes: what a man in the middle, who has one guess, can hope for."""
        passing = sum(math.comb(self.notes, wrong) * (COMB - 1) ** wrong for wrong in range(self.tolerance + 1))
        return float(passing / COMB**self.notes)


@dataclass(frozen=True, slots=True)
class Send:
    """Give these bytes to the data channel."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Play:
    """Play these MIDI numbers, one a slot, after a silence of `pause_s`, and report `played` when they have ended."""

    notes: tuple[int, ...]
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Alarm:
    """Play this instead of all else, then stop: the peer must not accept either."""

    notes: tuple[int, ...]


Output = Send | Play | Alarm


@dataclass(slots=True)
class PairResult:
    """What a pairing hands out. Keys do not show in `repr`."""

    session_key: bytes = field(repr=False)
    directions: tuple[bytes, bytes] | None = field(repr=False)  # keys for sending and receiving, see `take_directions`
    peer_id: str  # of this session's public key, for humans to compare
    transcript_hash: bytes
    authentication_bits: float
    notes_wrong: int

    def take_directions(self) -> tuple[bytes, bytes]:
        """The keys for sending and receiving, once: a count of records must never begin anew under the same key.

        Raises PairingError the second time.
        """
        taken, self.directions = self.directions, None
        if taken is None:
            raise PairingError("This pairing's channel is in use already: pair again for another.")
        return taken


class State(Enum):
    """Where an attempt stands; the prefix says whose state it is."""

    # With a data channel:
    I_GREETING = auto()  # HELLO is sent, the peer's is awaited
    I_COMMITTED = auto()  # COMMIT is sent, REVEAL is awaited
    I_LISTENING_CONFIRMED = auto()  # the peer's CONFIRM came before its melody was recognized
    I_HEARD = auto()  # CONFIRM is sent, the peer's is awaited
    R_GREETING = auto()
    R_GREETED = auto()  # COMMIT is awaited
    R_REVEALED = auto()  # OPEN is awaited
    R_PLAYED = auto()  # CONFIRM is sent, the peer's is awaited
    # By sound alone:
    I_SAYING_COMMITMENT = auto()
    I_AWAITING_KEY = auto()
    I_SAYING_KEY = auto()
    R_AWAITING_COMMITMENT = auto()
    R_SAYING_KEY = auto()
    R_AWAITING_KEY = auto()
    # Either way, the short melodies:
    I_PLAYING = auto()
    I_LISTENING = auto()
    I_SETTLING = auto()
    R_LISTENING = auto()
    R_PLAYING = auto()
    R_SETTLING = auto()  # all is well, unless the peer, who may have heard something else, sounds the alarm now
    PAIRED = auto()
    FAILED = auto()


class Sound(Enum):
    """Inputs that are no messages."""

    HEARD = auto()  # a melody of the peer's role
    OWN = auto()  # the own melody, while it plays
    PLAYED = auto()  # the own melody has ended
    QUIET = auto()  # there has been time enough for an alarm


Table = dict[tuple[State, Any], tuple[State, Callable[..., list[Output]]]]


class Attempt:
    """One attempt of one role. Not thread-safe."""

    TRANSITIONS: ClassVar[Table] = {}

    def __init__(self, role: Role, state: State, entropy: Callable[[int], bytes], rules: Rules | None) -> None:
        self.role, self.state, self.rules = role, state, rules or Rules()
        self.result: PairResult | None = None
        self.exposed = False  # whether an attacker may have had a guess: then a failure counts
        self.error: PairingError | None = None
        self._private: X25519PrivateKey | None = X25519PrivateKey.from_private_bytes(entropy(crypto.KEY_BYTES))
        self._public = crypto.public_bytes(self._private)
        self._peer = b""  # its public key
        self._keys: crypto.Keys | None = None
        self._transcript = b""
        self._wrong = 0
        self._heard_itself = False

    @property
    def expected_notes(self) -> int | None:
        """Notes in the body of the melody that may be heard now; None if only an alarm may."""
        return self.rules.notes

    @property
    def listens(self) -> bool:
        """Whether anything may still come over a data channel; after that the peer may hang up, or say something else there."""
        return False

    @property
    def patience_s(self) -> float:
        """How long, while this device is silent, the peer may take to bring about another state."""
        return ANSWER_S + SLOT_S * (self.expected_notes or 0)

    def start(self) -> list[Output]:
        """What to send or play first."""
        raise NotImplementedError

    def receive(self, _data: bytes) -> list[Output]:
        """Bytes from the data channel, cut anywhere; without such a channel, an error of the caller's."""
        raise NotImplementedError

    def heard(self, melody: Melody) -> list[Output]:
        """A melody was recognized: the peer's, or the own one while it plays."""
        if melody.contested and melody.role is not self.role:  # the own one proves nothing, so that nothing is lost with it
            return self.disturbed()
        return self._advance(Sound.OWN if melody.role is self.role else Sound.HEARD, melody)

    def played(self) -> list[Output]:
        """The own melody has ended."""
        return self._advance(Sound.PLAYED)

    def quiet(self) -> list[Output]:
        """There has been time for the peer to sound an alarm, and none was heard."""
        return self._advance(Sound.QUIET)

    def disturbed(self) -> list[Output]:
        """An alarm, two melodies at once, or one that should not be there was heard."""
        return self.fail(InterferenceError("Another melody or an alarm was heard: try again where only the two devices play."))

    def timed_out(self) -> list[Output]:
        """The peer, or its melody, did not come in time."""
        return self.fail(PairingTimeoutError("The other device did not answer in time: bring it closer and try again."))

    def fail(self, error: PairingError) -> list[Output]:
        """End the attempt, forget its secrets, and warn the peer if there is one."""
        if self.state in (State.FAILED, State.PAIRED):
            return []
        alone = self.state in (State.I_GREETING, State.R_GREETING, State.R_AWAITING_COMMITMENT)
        self.state, self.error = State.FAILED, error
        self._keys = self._private = None
        self._forget()
        return [] if alone else [Alarm(ALARMS * alarm_notes())]

    def _forget(self) -> None:
        """Drop what other secrets there are."""

    def _advance(self, given: Any, payload: Any = None) -> list[Output]:
        if self.state is State.FAILED:
            return []
        row = self.TRANSITIONS.get((self.state, given))
        if row is None:
            return self.fail(ProtocolError(f"{given.name} came out of turn ({self.state.name}): this is an attack or a fault."))
        following, action = row
        try:
            outputs = action(self, payload)
        except PairingError as error:
            return self.fail(error)
        self.state = following
        if following is State.PAIRED:
            self.result = self._result()
        return outputs

    # What a transition does. Each may refuse by raising a PairingError.

    def compare(self, melody: Melody) -> list[Output]:
        """The peer's melody must be the own one."""
        self._wrong = self._distance(melody)
        return []

    def compare_and_play(self, melody: Melody) -> list[Output]:
        """Likewise, and then it is this device's turn."""
        return [*self.compare(melody), self._play()]

    def check_own(self, melody: Melody) -> list[Output]:
        """What this device hears of itself must be what it plays, and only once."""
        if self._heard_itself:
            raise InterferenceError("This device's own melody was heard twice: somebody plays it back.")
        self._heard_itself = True
        self._distance(melody)
        return []

    def nothing(self, _: Any) -> list[Output]:
        """Time has passed, that is all."""
        return []

    # The short melodies are the same whatever carried the keys.
    MELODIES: ClassVar[Table] = {
        (State.I_PLAYING, Sound.OWN): (State.I_PLAYING, check_own),
        (State.I_PLAYING, Sound.PLAYED): (State.I_LISTENING, nothing),
        (State.I_LISTENING, Sound.OWN): (State.I_LISTENING, check_own),  # the room answers late
        (State.I_SETTLING, Sound.QUIET): (State.PAIRED, nothing),
        (State.R_LISTENING, Sound.HEARD): (State.R_PLAYING, compare_and_play),
        (State.R_PLAYING, Sound.OWN): (State.R_PLAYING, check_own),
        (State.R_SETTLING, Sound.OWN): (State.R_SETTLING, check_own),
        (State.R_SETTLING, Sound.QUIET): (State.PAIRED, nothing),
    }

    # What the actions are made of.

    def _agree(self, peer: bytes, transcript: bytes) -> None:
        """Derive the keys from the peer's public key and all that was said."""
        if crypto.same(peer, self._public):
            raise ProtocolError("The peer sent this device's own key back: this is an attack.")
        if self._private is None:
            raise ProtocolError("The attempt is over.")
        self._keys = crypto.agree(self._private, peer, transcript)
        self.exposed = True
        self._peer, self._transcript = peer, transcript

    def _agreed(self) -> crypto.Keys:
        if self._keys is None:
            raise ProtocolError("No key has been agreed on.")
        return self._keys

    def _symbols(self) -> tuple[int, ...]:
        return symbols_of(self._agreed().sas, self.rules.notes)

    def _play(self, pause_s: float = 0.0) -> Play:
        return Play(notes_of(self.role, self._symbols()), pause_s)

    def _distance(self, melody: Melody) -> int:
        wrong = melody.distance(self._symbols())
        if wrong > self.rules.tolerance:
            raise MismatchError("The other device plays another melody: somebody may sit in between. Nothing was paired.")
        return wrong

    def _result(self) -> PairResult:
        keys = self._agreed()
        responder_first = (keys.to_responder, keys.to_initiator)
        return PairResult(
            session_key=keys.exporter,
            directions=responder_first if self.role is Role.INITIATOR else responder_first[::-1],
            peer_id=crypto.transcript_hash([self._peer]).hex()[:16],
            transcript_hash=self._transcript,
            authentication_bits=-math.log2(self.rules.attack_probability),
            notes_wrong=self._wrong,
        )
