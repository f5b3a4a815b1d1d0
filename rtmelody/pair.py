"""Pairing live: a data channel, a microphone and a loudspeaker around one `Party`."""

import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rtmelody.errors import AudioDeviceError, OutputError, PairingTimeoutError
from rtmelody.live import PATIENCE_S, POLL_S, Source
from rtmelody.pairing.party import Party
from rtmelody.pairing.session import PairResult, State

LAST_WORDS_S = 1.0  # an alarm lasts this long, and must be heard


class Wire(Protocol):
    """Bytes to and from the peer, without waiting."""

    def receive(self) -> bytes:
        """What has come; perhaps nothing."""

    def send(self, data: bytes) -> None:
        """Give bytes to the peer."""


class Voice(Protocol):
    """Something that plays samples."""

    def write(self, samples: NDArray[np.float32]) -> None:
        """Play mono samples after those that wait already."""


def pair(party: Party, wire: Wire, microphone: Source, voice: Voice, stopping: threading.Event | None = None) -> PairResult:
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
            if stopping.is_set():
                raise PairingTimeoutError("The pairing was broken off.")
            time.sleep(POLL_S)
            continue
        heard_at = time.monotonic()
        data = b"" if party.session.state in (State.PAIRED, State.FAILED) else wire.receive()
        sent, played = party.step(data, samples)
        if sent:
            wire.send(sent)
        voice.write(played)
    if party.session.state is State.FAILED:
        time.sleep(LAST_WORDS_S)
    return party.result()


def write_key(path: Path, key: bytes) -> None:
    """Write a key to a file that nobody else can read, whole or not at all.

    Raises OutputError.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # created with mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(key)
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(f"Cannot write the key to {path}: {error.strerror}.") from error


def check_key_file(path: Path | None) -> None:
    """Say beforehand that a key has nowhere to go.

    Raises OutputError.
    """
    if path is not None and not path.parent.is_dir():
        raise OutputError(f"Cannot write the key to {path}: there is no folder {path.parent}.")
