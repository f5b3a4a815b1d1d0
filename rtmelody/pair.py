"""Pairing live: a data channel, a microphone and a loudspeaker around one `Party`."""

import os
import threading
import time
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rtmelody.errors import AudioDeviceError, OutputError, PairingError, PairingTimeoutError
from rtmelody.io.channel import Channel
from rtmelody.live import PATIENCE_S, POLL_S, Source
from rtmelody.pairing.party import Party
from rtmelody.pairing.session import PairResult, State

STANDARD_ERROR = 2
LAST_WORDS_S = 1.0  # an alarm lasts this long, and must be heard


class Voice(Protocol):
    """Something that plays samples."""

    def write(self, samples: NDArray[np.float32]) -> None:
        """Play mono samples after those that wait already."""


def pair(
    party: Party, channel: Channel, microphone: Source, voice: Voice, stopping: threading.Event | None = None
) -> PairResult:
    """Pair by ear; microphone and voice are the caller's to start and stop, and run at the party's rate.

    Raises PairingError, and then nothing is known of a key; AudioDeviceError if the microphone falls silent.
    """
    stopping = stopping or threading.Event()
    heard_at = time.monotonic()
    while not party.finished:
        samples = microphone.ring.read()
        if not len(samples):
            if time.monotonic() - heard_at > PATIENCE_S:
                raise AudioDeviceError(f"The audio input has sent nothing for {PATIENCE_S:g} s: is it still connected?")
            time.sleep(POLL_S)
            continue
        heard_at = time.monotonic()
        if stopping.is_set():
            party.fail(PairingTimeoutError("The pairing was broken off."))
        voice.write(_step(party, channel, samples))
    if party.session.state is State.FAILED:
        time.sleep(LAST_WORDS_S)
    return party.result()


def _step(party: Party, channel: Channel, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """One block; a peer that hangs up before the end makes the party fail, which it says aloud."""
    try:
        sent, played = party.step(channel.receive() if party.listens else b"", samples)
        if sent:
            channel.send(sent)
    except PairingError as error:
        party.fail(error)
        _, played = party.step(b"", np.zeros(len(samples), np.float32))
    return played


def check_destination(path: Path | None, descriptor: int | None) -> None:
    """Say beforehand that a key has nowhere to go, or would be seen.

    Raises OutputError.
    """
    if path is not None and not path.parent.is_dir():
        raise OutputError(f"Cannot write the key to {path}: there is no folder {path.parent}.")
    if descriptor is None:
        return
    try:
        shown = descriptor <= STANDARD_ERROR or os.isatty(descriptor)
        os.fstat(descriptor)
    except OSError as error:
        raise OutputError(f"File descriptor {descriptor} is not open: the key has nowhere to go.") from error
    if shown:
        raise OutputError("A key is never shown on a terminal or a standard stream: give --key-fd a number from 3 up.")
