"""One device that pairs: an attempt with an ear and a voice, driven block by block.

Time is the sample index: bytes and samples in, bytes and samples out, no clock. The same object serves sound cards, files and
simulated rooms.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from rtmelody.core.network import Network
from rtmelody.errors import PairingError
from rtmelody.pairing.attempt import Attempt, Output, PairResult, Play, Send, State
from rtmelody.pairing.ear import Disturbance, Ear
from rtmelody.pairing.tones import synthesize

# After the last melody the peer recognizes it, sounds an alarm of half a second, and this ear hears that.
SETTLING_S = 0.9  # from when the melody was heard
UNHEARD_S = 1.6  # from when the own melody was handed to the loudspeaker, if it was not heard
SETTLING = (State.I_SETTLING, State.R_SETTLING)

Samples = NDArray[np.float32]


class Party:
    """Pairs once. Not thread-safe."""

    def __init__(self, attempt: Attempt, sample_rate: float, network: Network) -> None:
        """Carry out an attempt at a sample rate; the network is this party's own from now on."""
        self.attempt = attempt
        self._ear = Ear(sample_rate, network, attempt.expected_notes)
        self._sample_rate = sample_rate
        self._outbox = b""
        self._voice: Samples = np.zeros(0, np.float32)  # what is still to be played
        self._singing = False
        self._waited = 0  # samples since the state last changed, or the voice fell silent
        self._silent = 0  # samples since the own melody was handed out
        self._hushed = 0  # samples since any melody ended in the ear
        self._do(attempt.start())

    @property
    def finished(self) -> bool:
        """Whether the attempt is over, and its last word, an alarm perhaps, has been spoken."""
        return self.attempt.state in (State.PAIRED, State.FAILED) and not len(self._voice) and not self._outbox

    def result(self) -> PairResult:
        """What the pairing hands out.

        Raises PairingError if it failed, or is not yet at its end.
        """
        if self.attempt.result is None:
            raise self.attempt.error or PairingError("The pairing is not complete.")
        return self.attempt.result

    def step(self, data: bytes, heard: Samples) -> tuple[bytes, Samples]:
        """Take what came over the data channel and through the microphone; what to send, and as many samples to play."""
        before = self.attempt.state
        if data:
            self._do(self.attempt.receive(data))
        self._hushed += len(heard)
        for one in self._ear.push(heard):
            self._hushed = 0
            self._do(self.attempt.disturbed() if isinstance(one, Disturbance) else self.attempt.heard(one))
        played = self._sing(len(heard))
        self._silent = 0 if len(self._voice) else self._silent + len(heard)
        self._waited = min(self._silent, self._waited + len(heard)) if self.attempt.state is before else 0
        if self.attempt.state in SETTLING and self._settled():
            self._do(self.attempt.quiet())
        if self._waited > self.attempt.patience_s * self._sample_rate:
            self._do(self.attempt.timed_out())
        sent, self._outbox = self._outbox, b""
        return sent, played

    def fail(self, error: PairingError) -> None:
        """Break off for a reason that lies outside, and warn the peer; go on with `step` until `finished`."""
        self._do(self.attempt.fail(error))

    def _settled(self) -> bool:
        """Whether there has been time enough for an alarm, however slow the loudspeaker is."""
        heard_last = self._hushed < self._silent
        return min(self._hushed, self._silent) > (SETTLING_S if heard_last else UNHEARD_S) * self._sample_rate

    def _do(self, outputs: Iterable[Output]) -> None:
        """Carry out what the attempt wants; an alarm silences what is being played."""
        for output in outputs:
            if isinstance(output, Send):
                self._outbox += output.data
            else:
                pause = np.zeros(round(output.pause_s * self._sample_rate) if isinstance(output, Play) else 0, np.float32)
                self._voice = np.concatenate((pause, synthesize(output.notes, self._sample_rate)))
                self._singing = True
        self._ear.expect(self.attempt.expected_notes)

    def _sing(self, count: int) -> Samples:
        """The next samples of the voice, then silence; the attempt learns when the melody has ended."""
        block = np.zeros(count, np.float32)
        now, self._voice = self._voice[:count], self._voice[count:]
        block[: len(now)] = now
        if self._singing and not len(self._voice):
            self._singing = False
            self._do(self.attempt.played())
        return block
