"""Pairing through simulated air: two devices, a room, noise, and somebody in between."""

import os

import numpy as np
import pytest

from rtmelody.core.network import Network, model_folder
from rtmelody.errors import PairingError
from rtmelody.pairing.melody import Role, notes_of
from rtmelody.pairing.party import Party
from rtmelody.pairing.session import Rules, State
from rtmelody.pairing.tones import synthesize

RATE, BLOCK = 44_100, 1_024
LONGEST_S = 12.0
DELAY = 4  # blocks from a loudspeaker to the other microphone, devices included


@pytest.fixture(scope="module")
def networks():
    return {role: Network(model_folder("melody")) for role in Role}


def pair(networks, *, wire=lambda _role, data: data, extra=lambda _role, _block: 0.0, rules=None):
    """Both parties after their attempt, and its length in seconds; each hears itself and the other.

    `wire` may change bytes, `extra` adds to what a role's microphone hears in a block.
    """
    parties = {role: Party(role, RATE, networks[role], os.urandom, rules) for role in Role}
    silence = np.zeros(BLOCK, np.float32)
    air = {role: [silence] * DELAY for role in Role}  # what has left a loudspeaker and has not yet arrived
    bytes_for = dict.fromkeys(Role, b"")
    for number in range(round(LONGEST_S * RATE / BLOCK)):
        arriving = {role: air[role].pop(0) for role in Role}
        for role, party in parties.items():
            sound = arriving[role] + 0.5 * arriving[role.other] + extra(role, number)
            data, bytes_for[role] = bytes_for[role], b""
            sent, played = party.step(data, sound.astype(np.float32))
            bytes_for[role.other] += wire(role, sent)
            air[role].append(played)
        if all(party.finished for party in parties.values()):
            break
    return parties, (number + 1) * BLOCK / RATE


def test_two_devices_pair_by_ear(networks):
    parties, seconds = pair(networks)
    keys = {party.result().session_key for party in parties.values()}
    assert len(keys) == 1
    assert seconds <= 6.5


def test_they_pair_in_noise(networks):
    rng = np.random.default_rng(7)
    parties, _ = pair(networks, extra=lambda _role, _block: rng.normal(0, 0.02, BLOCK))
    assert all(party.session.state is State.PAIRED for party in parties.values())


def test_without_sound_there_is_no_key(networks):
    """The network alone pairs nobody."""
    parties, _ = pair(networks, extra=lambda _role, _block: np.random.default_rng(8).normal(0, 3.0, BLOCK))
    for party in parties.values():
        with pytest.raises(PairingError):
            party.result()


def test_a_loud_second_melody_is_no_way_in(networks):
    """While the initiator plays, an attacker plays a melody of the same form over it, as loud."""
    rng = np.random.default_rng(9)
    over = synthesize(notes_of(Role.INITIATOR, rng.integers(0, 8, 12).tolist()), RATE)
    over = np.pad(over, (0, 400 * BLOCK))

    def extra(role, block):
        return over[block * BLOCK : (block + 1) * BLOCK] if role is Role.RESPONDER else 0.0

    parties, _ = pair(networks, extra=extra)
    for party in parties.values():
        with pytest.raises(PairingError):
            party.result()


def test_silence_times_out(networks):
    party = Party(Role.INITIATOR, RATE, networks[Role.INITIATOR], os.urandom)
    for _ in range(10):
        party.step(b"", np.zeros(RATE, np.float32))
    assert party.finished
    with pytest.raises(PairingError, match="in time"):
        party.result()


def test_shorter_strings_for_demonstrations(networks):
    parties, _ = pair(networks, rules=Rules(notes=4, tolerance=1))
    assert parties[Role.INITIATOR].result().authentication_bits == pytest.approx(7.14, abs=0.01)
