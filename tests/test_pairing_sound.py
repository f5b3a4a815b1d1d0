"""Pairing through simulated air: two devices, a room, noise, and somebody in between."""

import os
import random

import numpy as np
import pytest

from rtmelody.core.network import Network, model_folder
from rtmelody.errors import PairingError
from rtmelody.pairing.air import Room, meet
from rtmelody.pairing.attempt import Rules
from rtmelody.pairing.melody import Role, notes_of
from rtmelody.pairing.party import Party
from rtmelody.pairing.session import Session
from rtmelody.pairing.spoken import SpokenSession
from rtmelody.pairing.tones import synthesize

RATE = 44_100


@pytest.fixture(scope="module")
def networks():
    return {role: Network(model_folder("melody")) for role in Role}


def pair(networks, room=None, rules=None, kind=Session):
    """Both parties after their attempt, and its length in seconds."""
    entropy = random.Random(5).randbytes  # noqa: S311 (the same melodies every time)
    parties = {role: Party(kind(role, entropy, rules), RATE, networks[role]) for role in Role}
    meeting = meet(parties, RATE, room)
    return parties, meeting.samples / RATE


def noise(rms, seed):
    rng = np.random.default_rng(seed)
    return lambda _role, count: rng.normal(0, rms, count).astype(np.float32)


def test_two_devices_pair_by_ear(networks):
    parties, seconds = pair(networks)
    keys = {party.result().session_key for party in parties.values()}
    assert len(keys) == 1
    assert seconds <= 6.0


def test_they_pair_in_noise(networks):
    parties, _ = pair(networks, Room(noise=noise(0.02, 7)))
    assert [party.attempt.error for party in parties.values()] == [None, None]
    assert len({party.result().session_key for party in parties.values()}) == 1


def test_they_pair_in_a_room_that_rings(networks):
    rng = np.random.default_rng(11)
    time = np.arange(round(0.4 * RATE)) / RATE
    response = rng.normal(0, 0.02, len(time)) * 10 ** (-3 * time / 0.5)  # RT60 of half a second
    response[0] = 1.0
    parties, _ = pair(networks, Room(response=response.astype(np.float32)))
    assert [party.attempt.error for party in parties.values()] == [None, None]
    assert len({party.result().session_key for party in parties.values()}) == 1


def test_without_sound_there_is_no_key(networks):
    """The network alone pairs nobody."""
    parties, _ = pair(networks, Room(noise=noise(3.0, 8)))
    for party in parties.values():
        with pytest.raises(PairingError):
            party.result()


def test_a_loud_second_melody_is_no_way_in(networks):
    """While the initiator plays, an attacker plays a melody of the same form over it, as loud."""
    rng = np.random.default_rng(9)
    over = synthesize(notes_of(Role.INITIATOR, rng.integers(0, 8, 12).tolist()), RATE)
    waiting = {
        Role.RESPONDER: np.concatenate((over, np.zeros(20 * RATE, np.float32))),
        Role.INITIATOR: np.zeros(25 * RATE, np.float32),
    }

    def attacker(role, count):
        block, waiting[role] = waiting[role][:count], waiting[role][count:]
        return block

    parties, _ = pair(networks, Room(noise=attacker))
    for party in parties.values():
        with pytest.raises(PairingError):
            party.result()


def test_silence_times_out(networks):
    party = Party(Session(Role.INITIATOR, os.urandom), RATE, networks[Role.INITIATOR])
    for _ in range(10):
        party.step(b"", np.zeros(RATE, np.float32))
    assert party.finished
    with pytest.raises(PairingError, match="in time"):
        party.result()


def test_shorter_strings_for_demonstrations(networks):
    parties, _ = pair(networks, rules=Rules(notes=4, tolerance=1))
    assert parties[Role.INITIATOR].result().authentication_bits == pytest.approx(7.14, abs=0.01)


def test_sound_alone_is_enough(networks):
    parties, seconds = pair(networks, Room(noise=noise(0.02, 7)), kind=SpokenSession)
    assert [party.attempt.error for party in parties.values()] == [None, None]
    assert len({party.result().session_key for party in parties.values()}) == 1
    assert seconds <= 60.0
