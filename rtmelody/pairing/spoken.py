"""Pairing by sound alone: the public keys themselves are melodies, and short melodies confirm them (mode 2).

The same promise as over a data channel: the initiator is bound to its key before it hears the responder's. A device that
refuses sounds the alarm; PAIRED is reached after the own check and, for the responder, a silence in which no alarm came.
"""

from collections.abc import Callable
from typing import ClassVar

from rtmelody.errors import ProtocolError
from rtmelody.pairing import crypto
from rtmelody.pairing.attempt import Attempt, Output, Play, Rules, Sound, State, Table
from rtmelody.pairing.frames import Frame, Kind, notes_in
from rtmelody.pairing.melody import Melody, Role, notes_of

START_S = 120.0  # the responder waits so long for somebody to begin
PAUSE_S = 1.2  # between two melodies of one device: the other, whose clock may be slow, must have recognized the first

EXPECTED = {
    State.R_AWAITING_COMMITMENT: Kind.COMMITMENT,
    State.I_AWAITING_KEY: Kind.RESPONDER_KEY,
    State.R_AWAITING_KEY: Kind.INITIATOR_KEY,
}
SAYING = (State.I_SAYING_COMMITMENT, State.R_SAYING_KEY, State.I_SAYING_KEY)


class SpokenSession(Attempt):
    """One attempt of one role. Not thread-safe."""

    def __init__(self, role: Role, entropy: Callable[[int], bytes], rules: Rules | None = None) -> None:
        """Be `role`; `entropy(n)` gives n bytes that nobody can guess (`os.urandom`)."""
        initial = State.I_SAYING_COMMITMENT if role is Role.INITIATOR else State.R_AWAITING_COMMITMENT
        super().__init__(role, initial, entropy, rules)
        self._commitment = crypto.spoken_commitment(self._public) if role is Role.INITIATOR else b""

    @property
    def expected_notes(self) -> int | None:
        """Notes in the body of the melody that may be heard now; None if only an alarm may."""
        if self.state in SAYING:  # a frame proves nothing yet: the short melodies do
            return None
        return notes_in(EXPECTED[self.state]) if self.state in EXPECTED else self.rules.notes

    @property
    def patience_s(self) -> float:
        """How long, while this device is silent, the peer may take to bring about another state."""
        return START_S if self.state is State.R_AWAITING_COMMITMENT else super().patience_s

    def start(self) -> list[Output]:
        """The initiator's commitment; the responder waits."""
        return [self._say(Kind.COMMITMENT, self._commitment)] if self.role is Role.INITIATOR else []

    # What a transition does. Each may refuse by raising a PairingError.

    def _take_commitment(self, melody: Melody) -> list[Output]:
        self._commitment = Frame.read(Kind.COMMITMENT, melody.symbols).data
        self.exposed = True  # whoever hears the answer knows the melody
        return [self._say(Kind.RESPONDER_KEY, self._public)]

    def _take_key(self, melody: Melody) -> list[Output]:
        peer = Frame.read(Kind.RESPONDER_KEY, melody.symbols).data
        self._agree(peer, crypto.spoken_transcript(self._commitment, peer, self._public))
        return [self._say(Kind.INITIATOR_KEY, self._public)]

    def _check_key(self, melody: Melody) -> list[Output]:
        peer = Frame.read(Kind.INITIATOR_KEY, melody.symbols).data
        if not crypto.same(crypto.spoken_commitment(peer), self._commitment):
            raise ProtocolError("The peer did not keep to what it had committed itself to: this is an attack.")
        self._agree(peer, crypto.spoken_transcript(self._commitment, self._public, peer))
        return []

    def _play_after_pause(self, _: object) -> list[Output]:
        return [self._play(PAUSE_S)]

    TRANSITIONS: ClassVar[Table] = {
        **Attempt.MELODIES,
        (State.I_SAYING_COMMITMENT, Sound.PLAYED): (State.I_AWAITING_KEY, Attempt.nothing),
        (State.I_AWAITING_KEY, Sound.HEARD): (State.I_SAYING_KEY, _take_key),
        (State.I_SAYING_KEY, Sound.PLAYED): (State.I_PLAYING, _play_after_pause),
        (State.I_LISTENING, Sound.HEARD): (State.I_SETTLING, Attempt.compare),
        (State.R_AWAITING_COMMITMENT, Sound.HEARD): (State.R_SAYING_KEY, _take_commitment),
        (State.R_SAYING_KEY, Sound.PLAYED): (State.R_AWAITING_KEY, Attempt.nothing),
        (State.R_AWAITING_KEY, Sound.HEARD): (State.R_LISTENING, _check_key),
        (State.R_PLAYING, Sound.PLAYED): (State.R_SETTLING, Attempt.nothing),
    }

    def _say(self, kind: Kind, data: bytes) -> Play:
        return Play(notes_of(self.role, Frame(kind, data).symbols()))
