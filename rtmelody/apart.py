"""A party in a process of its own, moved block by block from this one: two of them share nothing but bytes and sound."""

import os
import signal
from multiprocessing import get_context
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from rtmelody.core.network import Network, model_folder
from rtmelody.errors import PairingError
from rtmelody.pairing.attempt import PairResult
from rtmelody.pairing.melody import Role
from rtmelody.pairing.party import Party
from rtmelody.pairing.session import Session
from rtmelody.pairing.spoken import SpokenSession


class PartyApart:
    """As `Party`, elsewhere."""

    def __init__(self, role: Role, sample_rate: float, model: str, audio_only: bool) -> None:
        """Start the process; its keys stay there until `result`."""
        context = get_context("spawn")
        Network(model_folder(model))  # what is wrong with it is better said here than by that process
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, role, sample_rate, model, audio_only), daemon=True)
        self._process.start()
        self.finished = False

    def step(self, data: bytes, heard: NDArray[np.float32]) -> tuple[bytes, NDArray[np.float32]]:
        """See `Party.step`."""
        self._pipe.send((data, heard))
        sent, played, self.finished = self._pipe.recv()
        return sent, played

    def result(self) -> PairResult:
        """See `Party.result`; the process ends."""
        self._pipe.send(None)
        result: PairResult | PairingError = self._pipe.recv()
        self._process.join()
        if isinstance(result, PairingError):
            raise result
        return result


def _serve(pipe: Connection, role: Role, sample_rate: float, model: str, audio_only: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: it ends the other process, and that one this
    attempt = SpokenSession(role, os.urandom) if audio_only else Session(role, os.urandom)
    party = Party(attempt, sample_rate, Network(model_folder(model)))
    while (given := pipe.recv()) is not None:
        pipe.send((*party.step(*given), party.finished))
    try:
        pipe.send(party.result())
    except PairingError as error:
        pipe.send(error)
