"""One device that pairs: a session with an ear and a voice, driven block by block.

Time is the sample index: bytes and samples in, bytes and samples out, no clock. The same object serves sound cards, files and
simulated rooms.
"""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from rtmelody.core.network import Network
from rtmelody.errors import PairingError
from rtmelody.pairing.ear import Disturbance, Ear
from rtmelody.pairing.melody import Melody, Role
from rtmelody.pairing.session import Output, PairResult, Rules, Send, Session, State
from rtmelody.pairing.tones import synthesize

SETTLING_S = 1.4  # after its own melody: the peer recognizes it, sounds an alarm of 0.75 s, and this ear hears that
PATIENCE_S = 8.0  # in one state: twice a melody and its recognition

Samples = NDArray[np.float32]


class Party:
    """Pairs once. Not thread-safe."""

    def __init__(
        self, role: Role, sample_rate: float, network: Network, entropy: Callable[[int], bytes], rules: Rules | None = None
    ) -> None:
        """Be `role` at a sample rate; the network is this party's own from now on."""
        self.session = Session(role, entropy, rules)
        self._ear = Ear(sample_rate, network, self.session.rules.notes)
        self._sample_rate = sample_rate
        self._outbox = b""
        self._voice: Samples = np.zeros(0, np.float32)  # what is still to be played
        self._singing = False
        self._waited = 0  # samples since the state last changed
        self._silent = 0  # samples since the own melody ended
        self._do(self.session.start())

    @property
    def finished(self) -> bool:
        """Whether the attempt is over, and its last word, an alarm perhaps, has been spoken."""
        return self.session.state in (State.PAIRED, State.FAILED) and not len(self._voice) and not self._outbox

    @property
    def listens(self) -> bool:
        """Whether anything may still come over the data channel; after that the peer may hang up."""
        return self.session.state not in (State.R_SETTLING, State.PAIRED, State.FAILED)

    def result(self) -> PairResult:
        """What the pairing hands out.

        Raises PairingError if it failed, or is not yet at its end.
        """
        if self.session.result is None:
            raise self.session.error or PairingError("The pairing is not complete.")
        return self.session.result

    def step(self, data: bytes, heard: Samples) -> tuple[bytes, Samples]:
        """Take what came over the data channel and through the microphone; what to send, and as many samples to play."""
        before = self.session.state
        if data:
            self._do(self.session.receive(data))
        for one in self._ear.push(heard):
            self._do(self._hear(one))
        played = self._sing(len(heard))
        self._waited = self._waited + len(heard) if self.session.state is before else 0
        self._silent = 0 if len(self._voice) else self._silent + len(heard)
        if self.session.state is State.R_SETTLING and self._silent > SETTLING_S * self._sample_rate:
            self._do(self.session.quiet())
        if self._waited > PATIENCE_S * self._sample_rate:
            self._do(self.session.timed_out())
        sent, self._outbox = self._outbox, b""
        return sent, played

    def fail(self, error: PairingError) -> None:
        """Break off for a reason that lies outside, and warn the peer; go on with `step` until `finished`."""
        self._do(self.session.fail(error))

    def _hear(self, one: Melody | Disturbance) -> list[Output]:
        return self.session.disturbed() if isinstance(one, Disturbance) else self.session.heard(one)

    def _do(self, outputs: Iterable[Output]) -> None:
        """Carry out what the session wants; an alarm silences what is being played."""
        for output in outputs:
            if isinstance(output, Send):
                self._outbox += output.data
            else:
                self._voice = synthesize(output.notes, self._sample_rate)
                self._singing = True

    def _sing(self, count: int) -> Samples:
        """The next samples of the voice, then silence; the session learns when the melody has ended."""
        block = np.zeros(count, np.float32)
        now, self._voice = self._voice[:count], self._voice[count:]
        block[: len(now)] = now
        if self._singing and not len(self._voice):
            self._singing = False
            self._do(self.session.played())
        return block
