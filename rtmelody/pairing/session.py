"""One pairing attempt as a state machine: bytes and heard melodies in, bytes and melodies to play out; no I/O, no clock.

The table `Session.TRANSITIONS` is the machine: (state, input) names the next state and what is done on the way. An input
that is not in the table ends the attempt; so does whatever an action refuses. A key is known only in the state PAIRED, which
is reached only after the own ear *and* the peer's have confirmed the melody.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import ClassVar

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from rtmelody.errors import InterferenceError, MismatchError, PairingError, PairingTimeoutError, ProtocolError
from rtmelody.pairing import crypto
from rtmelody.pairing.melody import COMB, Melody, Role, alarm_notes, notes_of, symbols_of
from rtmelody.pairing.messages import NONCE_BYTES, Message, Parser, Type, check_hello, hello

OPENING_BYTES = 16


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
    """Play these MIDI numbers, one a slot, and report `played` when they have ended."""

    notes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Alarm:
    """Play this instead of all else, then stop: the peer must not accept either."""

    notes: tuple[int, ...]


Output = Send | Play | Alarm


@dataclass(frozen=True, slots=True)
class PairResult:
    """What a pairing hands out. Keys do not show in `repr`."""

    session_key: bytes = field(repr=False)
    sending_key: bytes = field(repr=False)
    receiving_key: bytes = field(repr=False)
    peer_id: str  # of this session's public key, for humans to compare
    transcript_hash: bytes
    authentication_bits: float
    notes_wrong: int


class State(Enum):
    """Where an attempt stands; the prefix says whose state it is."""

    I_GREETING = auto()  # HELLO is sent, the peer's is awaited
    I_COMMITTED = auto()  # COMMIT is sent, REVEAL is awaited
    I_PLAYING = auto()
    I_LISTENING = auto()
    I_LISTENING_CONFIRMED = auto()  # the peer's CONFIRM came before its melody was recognized
    I_HEARD = auto()  # CONFIRM is sent, the peer's is awaited
    R_GREETING = auto()
    R_GREETED = auto()  # COMMIT is awaited
    R_REVEALED = auto()  # OPEN is awaited
    R_LISTENING = auto()
    R_PLAYING = auto()
    R_PLAYED = auto()  # CONFIRM is sent, the peer's is awaited
    R_SETTLING = auto()  # all is well, unless the peer, who may have heard something else, sounds the alarm now
    PAIRED = auto()
    FAILED = auto()


class Sound(Enum):
    """Inputs that are no messages."""

    HEARD = auto()  # a melody of the peer's role
    OWN = auto()  # the own melody, while it plays
    PLAYED = auto()  # the own melody has ended
    QUIET = auto()  # there has been time enough for an alarm


Input = Type | Sound


class Session:
    """One attempt of one role. Not thread-safe."""

    def __init__(self, role: Role, entropy: Callable[[int], bytes], rules: Rules | None = None) -> None:
        """Be `role`; `entropy(n)` gives n bytes that nobody can guess (`os.urandom`)."""
        self.role, self.rules = role, rules or Rules()
        self.state = State.I_GREETING if role is Role.INITIATOR else State.R_GREETING
        self.result: PairResult | None = None
        self.error: PairingError | None = None
        self._private: X25519PrivateKey | None = X25519PrivateKey.from_private_bytes(entropy(crypto.KEY_BYTES))
        self._public = crypto.public_bytes(self._private)
        self._opening = entropy(OPENING_BYTES)
        self._hello = hello(role, entropy(NONCE_BYTES))
        self._parser = Parser()
        self._said: dict[tuple[Role, Type], bytes] = {(role, Type.HELLO): self._hello.payload}
        self._peer = b""  # its public key
        self._keys: crypto.Keys | None = None
        self._transcript = b""
        self._wrong = 0
        self._heard_itself = False

    def start(self) -> list[Output]:
        """The first message."""
        return [Send(bytes(self._hello))]

    def receive(self, data: bytes) -> list[Output]:
        """Bytes from the data channel, cut anywhere."""
        outputs: list[Output] = []
        try:
            for message in self._parser.feed(data):
                outputs += self._advance(message.type, message.payload)
        except ProtocolError as error:
            return outputs + self.fail(error)
        return outputs

    def heard(self, melody: Melody) -> list[Output]:
        """A melody was recognized: the peer's, or the own one while it plays."""
        return self._advance(Sound.OWN if melody.role is self.role else Sound.HEARD, melody)

    def played(self) -> list[Output]:
        """The own melody has ended."""
        return self._advance(Sound.PLAYED, b"")

    def quiet(self) -> list[Output]:
        """Since the peer's confirmation there has been time for it to sound an alarm, and none was heard."""
        return self._advance(Sound.QUIET, b"")

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
        alone = self.state in (State.I_GREETING, State.R_GREETING)
        self.state, self.error = State.FAILED, error
        self._keys = self._private = None
        self._opening = b""
        return [] if alone else [Alarm(alarm_notes())]

    def _advance(self, given: Input, payload: "bytes | Melody") -> list[Output]:
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

    def _greet(self, payload: bytes) -> list[Output]:
        check_hello(payload, self._hello.payload, self.role)
        self._said[self.role.other, Type.HELLO] = payload
        return []

    def _commit(self, payload: bytes) -> list[Output]:
        self._greet(payload)
        return [self._say(Type.COMMIT, self._commitment(self._public, self._opening))]

    def _reveal(self, payload: bytes) -> list[Output]:
        self._said[Role.INITIATOR, Type.COMMIT] = payload
        return [self._say(Type.REVEAL, self._public + self._opening)]

    def _open(self, payload: bytes) -> list[Output]:
        self._said[Role.RESPONDER, Type.REVEAL] = payload
        opening = self._say(Type.OPEN, self._public + self._opening)
        self._agree(payload[: crypto.KEY_BYTES])
        return [opening, self._play()]

    def _check_opening(self, payload: bytes) -> list[Output]:
        self._said[Role.INITIATOR, Type.OPEN] = payload
        public, opening = payload[: crypto.KEY_BYTES], payload[crypto.KEY_BYTES :]
        if not crypto.same(self._commitment(public, opening), self._said[Role.INITIATOR, Type.COMMIT]):
            raise ProtocolError("The peer did not keep to what it had committed itself to: this is an attack.")
        self._agree(public)
        return []

    def _compare(self, melody: Melody) -> list[Output]:
        self._wrong = self._distance(melody)
        return []

    def _compare_and_play(self, melody: Melody) -> list[Output]:
        return [*self._compare(melody), self._play()]

    def _compare_and_confirm(self, melody: Melody) -> list[Output]:
        return [*self._compare(melody), *self._confirm(b"")]

    def _check_own(self, melody: Melody) -> list[Output]:
        if self._heard_itself:
            raise InterferenceError("This device's own melody was heard twice: somebody plays it back.")
        self._heard_itself = True
        self._distance(melody)
        return []

    def _confirm(self, _: bytes) -> list[Output]:
        return [Send(bytes(Message(Type.CONFIRM, self._confirmation(self.role))))]

    def _check_confirmation(self, payload: bytes) -> list[Output]:
        if not crypto.same(payload, self._confirmation(self.role.other)):
            raise ProtocolError("The peer's confirmation is false: this is an attack.")
        return []

    def _nothing(self, _: bytes) -> list[Output]:
        return []

    TRANSITIONS: ClassVar[dict[tuple[State, Input], tuple[State, Callable[..., list[Output]]]]] = {
        (State.I_GREETING, Type.HELLO): (State.I_COMMITTED, _commit),
        (State.I_COMMITTED, Type.REVEAL): (State.I_PLAYING, _open),
        (State.I_PLAYING, Sound.OWN): (State.I_PLAYING, _check_own),
        (State.I_PLAYING, Sound.PLAYED): (State.I_LISTENING, _nothing),
        (State.I_LISTENING, Sound.OWN): (State.I_LISTENING, _check_own),  # the room answers late
        (State.I_LISTENING, Type.CONFIRM): (State.I_LISTENING_CONFIRMED, _check_confirmation),
        (State.I_LISTENING, Sound.HEARD): (State.I_HEARD, _compare_and_confirm),
        (State.I_LISTENING_CONFIRMED, Sound.HEARD): (State.PAIRED, _compare_and_confirm),
        (State.I_HEARD, Type.CONFIRM): (State.PAIRED, _check_confirmation),
        (State.R_GREETING, Type.HELLO): (State.R_GREETED, _greet),
        (State.R_GREETED, Type.COMMIT): (State.R_REVEALED, _reveal),
        (State.R_REVEALED, Type.OPEN): (State.R_LISTENING, _check_opening),
        (State.R_LISTENING, Sound.HEARD): (State.R_PLAYING, _compare_and_play),
        (State.R_PLAYING, Sound.OWN): (State.R_PLAYING, _check_own),
        (State.R_PLAYING, Sound.PLAYED): (State.R_PLAYED, _confirm),
        (State.R_PLAYED, Sound.OWN): (State.R_PLAYED, _check_own),
        (State.R_PLAYED, Type.CONFIRM): (State.R_SETTLING, _check_confirmation),
        (State.R_SETTLING, Sound.OWN): (State.R_SETTLING, _check_own),
        (State.R_SETTLING, Sound.QUIET): (State.PAIRED, _nothing),
    }

    # What the actions are made of.

    def _say(self, kind: Type, payload: bytes) -> Send:
        self._said[self.role, kind] = payload
        return Send(bytes(Message(kind, payload)))

    def _commitment(self, public: bytes, opening: bytes) -> bytes:
        initiator, responder = (self._said[role, Type.HELLO] for role in (Role.INITIATOR, Role.RESPONDER))
        return crypto.commitment(initiator, responder, public, opening)

    def _agree(self, peer: bytes) -> None:
        if crypto.same(peer, self._public):
            raise ProtocolError("The peer sent this device's own key back: this is an attack.")
        order = ((Role.INITIATOR, Type.HELLO), (Role.RESPONDER, Type.HELLO), (Role.INITIATOR, Type.COMMIT),
                 (Role.RESPONDER, Type.REVEAL), (Role.INITIATOR, Type.OPEN))  # fmt: skip
        self._transcript = crypto.transcript_hash([self._said[part] for part in order])
        if self._private is None:
            raise ProtocolError("The attempt is over.")
        self._keys = crypto.agree(self._private, peer, self._transcript)
        self._peer = peer

    def _agreed(self) -> crypto.Keys:
        if self._keys is None:
            raise ProtocolError("No key has been agreed on.")
        return self._keys

    def _symbols(self) -> tuple[int, ...]:
        return symbols_of(self._agreed().sas, self.rules.notes)

    def _play(self) -> Play:
        return Play(notes_of(self.role, self._symbols()))

    def _distance(self, melody: Melody) -> int:
        wrong = melody.distance(self._symbols())
        if wrong > self.rules.tolerance:
            raise MismatchError("The other device plays another melody: somebody may sit in between. Nothing was paired.")
        return wrong

    def _confirmation(self, role: Role) -> bytes:
        keys = self._agreed()
        return crypto.confirmation(
            keys.confirm_initiator if role is Role.INITIATOR else keys.confirm_responder, self._transcript
        )

    def _result(self) -> PairResult:
        keys = self._agreed()
        directions = (keys.to_responder, keys.to_initiator)
        sending, receiving = directions if self.role is Role.INITIATOR else reversed(directions)
        return PairResult(
            session_key=keys.exporter,
            sending_key=sending,
            receiving_key=receiving,
            peer_id=crypto.transcript_hash([self._peer]).hex()[:16],
            transcript_hash=self._transcript,
            authentication_bits=-math.log2(self.rules.attack_probability),
            notes_wrong=self._wrong,
        )
