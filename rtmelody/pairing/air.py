"""Simulated air between two parties: for demonstrations, tests and measurements, in as little time as it takes to compute."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rtmelody.pairing.melody import Role

BLOCK = 1_024  # samples
LONGEST_S = 90.0

Samples = NDArray[np.float32]


class Device(Protocol):
    """What can be put into a room: a `Party`, wherever it is."""

    @property
    def finished(self) -> bool:
        """Whether it has nothing more to say."""

    def step(self, data: bytes, heard: Samples) -> tuple[bytes, Samples]:
        """See `Party.step`."""


@dataclass(frozen=True, slots=True)
class Room:
    """What lies between the devices.

    `response` [samples]: impulse response from each loudspeaker to the other's microphone; `own_gain`: how loud a device hears
    itself; `delay_s`: of devices and air; `noise(role, n)`: n samples that a role's microphone hears besides.
    """

    response: Samples = field(default_factory=lambda: np.ones(1, np.float32))
    gain: float = 0.5
    own_gain: float = 1.0
    delay_s: float = 0.09
    noise: Callable[[Role, int], Samples] = lambda _role, count: np.zeros(count, np.float32)


@dataclass(frozen=True, slots=True)
class Meeting:
    """What each microphone heard."""

    heard: dict[Role, Samples]

    @property
    def samples(self) -> int:
        """How long it took."""
        return len(self.heard[Role.INITIATOR])


def meet(
    parties: Mapping[Role, Device],
    sample_rate: float,
    room: Room | None = None,
    wire: Callable[[Role, bytes], bytes] = lambda _role, data: data,
) -> Meeting:
    """Let two parties pair, or fail; `wire` may change the bytes that a role has sent."""
    room = room or Room()
    delayed = {role: _Delay(room.delay_s, sample_rate) for role in Role}
    echoes = {role: _Echo(room.response) for role in Role}
    silence = np.zeros(BLOCK, np.float32)
    played, bytes_for = dict.fromkeys(Role, silence), dict.fromkeys(Role, b"")
    heard: dict[Role, list[Samples]] = {role: [] for role in Role}
    for _ in range(round(LONGEST_S * sample_rate / BLOCK)):
        arriving = {role: delayed[role].push(played[role]) for role in Role}
        across = {role: echoes[role].push(arriving[role]) for role in Role}
        for role, party in parties.items():
            sound = room.own_gain * arriving[role] + room.gain * across[role.other] + room.noise(role, BLOCK)
            heard[role].append(sound.astype(np.float32))
            data, bytes_for[role] = bytes_for[role], b""
            sent, played[role] = party.step(data, heard[role][-1])
            bytes_for[role.other] += wire(role, sent)
        if all(party.finished for party in parties.values()):
            break
    return Meeting({role: np.concatenate(blocks) for role, blocks in heard.items()})


class _Delay:
    """A line of a fixed length."""

    def __init__(self, seconds: float, sample_rate: float) -> None:
        self._line: Samples = np.zeros(round(seconds * sample_rate), np.float32)

    def push(self, block: Samples) -> Samples:
        self._line = np.concatenate((self._line, block))
        out, self._line = self._line[: len(block)], self._line[len(block) :]
        return out


class _Echo:
    """Convolution with an impulse response, block by block (overlap-add)."""

    def __init__(self, response: Samples) -> None:
        size = 1 << (len(response) + BLOCK - 1).bit_length()
        self._spectrum = np.fft.rfft(response, size)
        self._size = size
        self._tail = np.zeros(size)

    def push(self, block: Samples) -> Samples:
        if block.any():
            self._tail += np.fft.irfft(np.fft.rfft(block, self._size) * self._spectrum, self._size)
        out = self._tail[: len(block)].astype(np.float32)
        self._tail = np.concatenate((self._tail[len(block) :], np.zeros(len(block))))
        return out
