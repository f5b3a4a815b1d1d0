"""Pairing live, for programs that embed it: `pair` by ear, then `introduce`, `send` and `receive` over the new channel."""

import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from rtmelody.core.network import Network, model_folder
from rtmelody.errors import AudioDeviceError, OutputError, PairingError, PairingTimeoutError, ProtocolError
from rtmelody.io.channel import Channel
from rtmelody.io.files import check_place
from rtmelody.live import PATIENCE_S, POLL_S, Source
from rtmelody.pairing.attempt import PairResult, Rules, State
from rtmelody.pairing.melody import Role
from rtmelody.pairing.party import Party
from rtmelody.pairing.sealed import Opener, Record, Sealer, check_introduction, introduction, parts
from rtmelody.pairing.session import Session
from rtmelody.pairing.spoken import SpokenSession

STANDARD_ERROR = 2
LAST_WORDS_S = 1.0  # what the loudspeaker still holds of an alarm must be heard
ANSWER_S = 30.0  # a peer that is paired answers within this time
LARGEST_PAYLOAD = 1 << 20  # bytes; it is meant for addresses and passwords


class Voice(Protocol):
    """Something that plays samples."""

    def write(self, samples: NDArray[np.float32]) -> None:
        """Play mono samples after those that wait already."""


@dataclass(frozen=True, slots=True)
class Audio:
    """A microphone and a loudspeaker of one sample rate; both are the caller's to start and stop."""

    microphone: Source
    loudspeaker: Voice


def pair(
    role: Role,
    audio: Audio,
    channel: Channel | None = None,
    network: Network | None = None,
    rules: Rules | None = None,
    stopping: threading.Event | None = None,
    on_exposed: Callable[[], None] = lambda: None,
) -> PairResult:
    """Pair by ear: the key agreement goes through a channel, or, without one, through the air as well.

    `stopping`, when set, breaks it off. `on_exposed` is called before anybody can know the melody: from then on a failure may
    have been somebody's guess, and is to be counted. Raises PairingError, and then nothing is known of a key; AudioDeviceError
    if the microphone falls silent.
    """
    session = Session(role, os.urandom, rules) if channel else SpokenSession(role, os.urandom, rules)
    party = Party(session, audio.microphone.sample_rate, network or Network(model_folder("melody")))
    stopping = stopping or threading.Event()
    guard = _Once(on_exposed)
    heard_at = time.monotonic()
    while not party.finished:
        samples = audio.microphone.ring.read()
        if not len(samples):
            if time.monotonic() - heard_at > PATIENCE_S:
                raise AudioDeviceError(f"The audio input has sent nothing for {PATIENCE_S:g} s: is it still connected?")
            time.sleep(POLL_S)
            continue
        heard_at = time.monotonic()
        if stopping.is_set():
            party.fail(_broken_off())
        played = _step(party, channel, samples, guard)
        audio.loudspeaker.write(played)
    if session.state is State.FAILED:
        time.sleep(LAST_WORDS_S)
    result = party.result()
    if stopping.is_set():
        raise _broken_off()
    if channel and isinstance(session, Session):
        channel.unread(session.unread)
    return result


class _Once:
    """Calls once, however often it is called."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call

    def __call__(self) -> None:
        call, self._call = self._call, None
        if call:
            call()


def _step(
    party: Party, channel: Channel | None, samples: NDArray[np.float32], on_exposed: Callable[[], None]
) -> NDArray[np.float32]:
    """One block; a peer that hangs up before the end makes the party fail, which it says aloud."""
    try:
        sent, played = party.step(channel.receive() if channel and party.attempt.listens else b"", samples)
        if party.attempt.exposed:
            on_exposed()
        if channel and sent:
            channel.send(sent)
    except PairingError as error:
        party.fail(error)
        _, played = party.step(b"", np.zeros(len(samples), np.float32))
    return played


class Conversation:
    """The channel after pairing: what goes through it is sealed."""

    def __init__(
        self, channel: Channel, result: PairResult, patience_s: float = ANSWER_S, stopping: threading.Event | None = None
    ) -> None:
        """Talk through the channel over which the pairing went.

        A peer that has not introduced itself, taken or given a payload within `patience_s` has gone; `stopping`, when set,
        breaks off. Raises PairingError if there is such a conversation already.
        """
        self._channel, self._patience_s = channel, patience_s
        self._stopping = stopping or threading.Event()
        sending, receiving = result.take_directions()
        self._sealer, self._opener = Sealer(sending), Opener(receiving)
        self._records: list[tuple[Record, bytes]] = []
        self._transcript = result.transcript_hash

    def introduce(self, role: Role, identity: Ed25519PrivateKey) -> bytes:
        """Tell the peer who this device (in `role`) is; the public key that the peer proves to be its own.

        Raises PairingError.
        """
        self._say(Record.IDENTITY, introduction(identity, role, self._transcript))
        return check_introduction(self._hear(self._deadline(), Record.IDENTITY)[1], role.other, self._transcript)

    def send(self, payload: bytes) -> None:
        """Give the peer a payload, and wait until it has it whole.

        Raises PairingError.
        """
        for record, content in parts(payload):
            self._say(record, content)
        self._hear(self._deadline(), Record.RECEIVED)

    def receive(self, keep: Callable[[bytes], object]) -> None:
        """Give `keep` the payload that the peer sends, whole, at most 1 MiB; only then is the peer told that it has arrived.

        Raises PairingError, and what `keep` raises.
        """
        payload, record, deadline = b"", Record.PART, self._deadline()
        while record is not Record.LAST_PART:
            record, content = self._hear(deadline, Record.PART, Record.LAST_PART)
            payload += content
            if len(payload) > LARGEST_PAYLOAD:
                raise ProtocolError(f"The other device sends more than {LARGEST_PAYLOAD >> 20} MiB.")
        keep(payload)
        self._say(Record.RECEIVED)

    def _deadline(self) -> float:
        return time.monotonic() + self._patience_s

    def _say(self, record: Record, content: bytes = b"") -> None:
        self._go_on()
        self._channel.send(self._sealer.seal(record, content))

    def _hear(self, deadline: float, *expected: Record) -> tuple[Record, bytes]:
        """The next record, which must be one of these."""
        while not self._records:
            self._go_on()
            if time.monotonic() > deadline:
                raise PairingTimeoutError("The other device has fallen silent.")
            data = self._channel.receive()
            self._records += self._opener.feed(data)
            if not data:
                time.sleep(POLL_S)
        record, content = self._records.pop(0)
        if record not in expected:
            raise ProtocolError(f"{record.name} came out of turn: this is an attack or a fault.")
        return record, content

    def _go_on(self) -> None:
        if self._stopping.is_set():
            raise _broken_off()


def _broken_off() -> PairingError:
    return PairingTimeoutError("The pairing was broken off.")


def check_destination(path: Path | None, descriptor: int | None) -> None:
    """Say beforehand that a key has nowhere to go, or would be seen.

    Raises OutputError.
    """
    if path is not None:
        check_place(path, secret=True)
        if path.exists() and not path.is_file():
            raise OutputError(f"Cannot write the key to {path}: it is no file. A program takes it from --key-fd.")
    if descriptor is None:
        return
    try:
        shown = descriptor <= STANDARD_ERROR or os.isatty(descriptor)
        os.fstat(descriptor)
    except OSError as error:
        raise OutputError(f"File descriptor {descriptor} is not open: the key has nowhere to go.") from error
    if not _writable(descriptor):
        raise OutputError(f"File descriptor {descriptor} cannot be written to: the key has nowhere to go.")
    if shown:
        raise OutputError("A key is never shown on a terminal or a standard stream: give --key-fd a number from 3 up.")


def _writable(descriptor: int) -> bool:
    """As far as the system tells."""
    if sys.platform == "win32":
        return True
    import fcntl

    return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
