"""Pairing over a data channel: messages carry the key agreement, melodies its confirmation (mode 1).

PAIRED is reached only after the own ear *and* the peer's have confirmed the melody.
"""

from collections.abc import Callable
from typing import ClassVar

from rtmelody.errors import ProtocolError
from rtmelody.pairing import crypto
from rtmelody.pairing.attempt import Attempt, Output, Rules, Send, Sound, State, Table
from rtmelody.pairing.melody import Melody, Role
from rtmelody.pairing.messages import NONCE_BYTES, Message, Parser, Type, check_hello, hello

OPENING_BYTES = 16
ORDER = ((Role.INITIATOR, Type.HELLO), (Role.RESPONDER, Type.HELLO), (Role.INITIATOR, Type.COMMIT),
         (Role.RESPONDER, Type.REVEAL), (Role.INITIATOR, Type.OPEN))  # fmt: skip
TALKED_OUT = (State.I_SETTLING, State.R_SETTLING, State.PAIRED)  # no message of the protocol comes any more


class Session(Attempt):
    """One attempt of one role. Not thread-safe."""

    def __init__(self, role: Role, entropy: Callable[[int], bytes], rules: Rules | None = None) -> None:
        """Be `role`; `entropy(n)` gives n bytes that nobody can guess (`os.urandom`)."""
        super().__init__(role, State.I_GREETING if role is Role.INITIATOR else State.R_GREETING, entropy, rules)
        self._opening = entropy(OPENING_BYTES)
        self._hello = hello(role, entropy(NONCE_BYTES))
        self._parser = Parser()
        self._said: dict[tuple[Role, Type], bytes] = {(role, Type.HELLO): self._hello.payload}

    @property
    def listens(self) -> bool:
        """Whether anything may still come over the data channel."""
        return self.state not in (*TALKED_OUT, State.FAILED)

    @property
    def unread(self) -> bytes:
        """What came over the channel after the protocol's last message, and belongs to whoever uses the channel next."""
        return self._parser.rest

    def start(self) -> list[Output]:
        """The first message."""
        return [Send(bytes(self._hello))]

    def receive(self, data: bytes) -> list[Output]:
        """Bytes from the data channel, cut anywhere."""
        outputs: list[Output] = []
        try:
            for message in self._parser.feed(data):
                outputs += self._advance(message.type, message.payload)
                if self.state in TALKED_OUT:
                    break
        except ProtocolError as error:
            return outputs + self.fail(error)
        return outputs

    def _forget(self) -> None:
        self._opening = b""

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
        self.exposed = True  # whoever gets this knows the melody
        return [self._say(Type.REVEAL, self._public + self._opening)]

    def _open(self, payload: bytes) -> list[Output]:
        self._said[Role.RESPONDER, Type.REVEAL] = payload
        opening = self._say(Type.OPEN, self._public + self._opening)
        self._agree(payload[: crypto.KEY_BYTES], self._everything())
        return [opening, self._play()]

    def _check_opening(self, payload: bytes) -> list[Output]:
        self._said[Role.INITIATOR, Type.OPEN] = payload
        public, opening = payload[: crypto.KEY_BYTES], payload[crypto.KEY_BYTES :]
        if not crypto.same(self._commitment(public, opening), self._said[Role.INITIATOR, Type.COMMIT]):
            raise ProtocolError("The peer did not keep to what it had committed itself to: this is an attack.")
        self._agree(public, self._everything())
        return []

    def _compare_and_confirm(self, melody: Melody) -> list[Output]:
        return [*self.compare(melody), *self._confirm()]

    def _confirm(self, _: object = None) -> list[Output]:
        return [Send(bytes(Message(Type.CONFIRM, self._confirmation(self.role))))]

    def _check_confirmation(self, payload: bytes) -> list[Output]:
        if not crypto.same(payload, self._confirmation(self.role.other)):
            raise ProtocolError("The peer's confirmation is false: this is an attack.")
        return []

    TRANSITIONS: ClassVar[Table] = {
        **Attempt.MELODIES,
        (State.I_GREETING, Type.HELLO): (State.I_COMMITTED, _commit),
        (State.I_COMMITTED, Type.REVEAL): (State.I_PLAYING, _open),
        (State.I_LISTENING, Type.CONFIRM): (State.I_LISTENING_CONFIRMED, _check_confirmation),
        (State.I_LISTENING, Sound.HEARD): (State.I_HEARD, _compare_and_confirm),
        (State.I_LISTENING_CONFIRMED, Sound.HEARD): (State.I_SETTLING, _compare_and_confirm),
        (State.I_HEARD, Type.CONFIRM): (State.I_SETTLING, _check_confirmation),
        (State.R_GREETING, Type.HELLO): (State.R_GREETED, _greet),
        (State.R_GREETED, Type.COMMIT): (State.R_REVEALED, _reveal),
        (State.R_REVEALED, Type.OPEN): (State.R_LISTENING, _check_opening),
        (State.R_PLAYING, Sound.PLAYED): (State.R_PLAYED, _confirm),
        (State.R_PLAYED, Sound.OWN): (State.R_PLAYED, Attempt.check_own),
        (State.R_PLAYED, Type.CONFIRM): (State.R_SETTLING, _check_confirmation),
    }

    # What the actions are made of.

    def _say(self, kind: Type, payload: bytes) -> Send:
        self._said[self.role, kind] = payload
        return Send(bytes(Message(kind, payload)))

    def _commitment(self, public: bytes, opening: bytes) -> bytes:
        initiator, responder = (self._said[role, Type.HELLO] for role in (Role.INITIATOR, Role.RESPONDER))
        return crypto.commitment(initiator, responder, public, opening)

    def _everything(self) -> bytes:
        """The hash of all that both have said."""
        return crypto.transcript_hash([self._said[part] for part in ORDER])

    def _confirmation(self, role: Role) -> bytes:
        keys = self._agreed()
        return crypto.confirmation(
            keys.confirm_initiator if role is Role.INITIATOR else keys.confirm_responder, self._transcript
        )
