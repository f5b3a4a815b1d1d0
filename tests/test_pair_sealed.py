"""After pairing: what goes over the new channel, who says it, and what a device remembers."""

import os
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from rtmelody.errors import (
    ConfigError,
    LockedOutError,
    OutputError,
    PairingError,
    PairingTimeoutError,
    ProtocolError,
    RtmelodyError,
)
from rtmelody.io import peers as memory
from rtmelody.io.peers import Peers
from rtmelody.pair import Conversation
from rtmelody.pairing.attempt import PairResult
from rtmelody.pairing.melody import Role
from rtmelody.pairing.sealed import Opener, Record, Sealer, check_introduction, introduction, parts

KEY = bytes(range(32))


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(1, 100), max_size=50))
def test_records_come_back_however_they_are_cut(contents, sizes):
    sealer, opener, found = Sealer(KEY), Opener(KEY), []
    stream = b"".join(sealer.seal(Record.PART, content) for content in contents)
    for size in [*sizes, len(stream)]:
        found += opener.feed(stream[:size])
        stream = stream[size:]
    assert found == [(Record.PART, content) for content in contents]


@given(st.integers(0, 200), st.integers(1, 255))
def test_a_changed_record_is_refused(place, change):
    sealed = bytearray(Sealer(KEY).seal(Record.PART, b"x" * 100))
    sealed[place % len(sealed)] ^= change
    with pytest.raises(ProtocolError):
        list(Opener(KEY).feed(bytes(sealed) + bytes(1 << 16)))


@pytest.mark.parametrize("order", [(1, 0), (0, 0), (1,)])
def test_records_cannot_be_moved_repeated_or_left_out(order):
    sealer, opener = Sealer(KEY), Opener(KEY)
    records = [sealer.seal(Record.PART, bytes([number])) for number in range(2)]
    with pytest.raises(ProtocolError):
        list(opener.feed(b"".join(records[number] for number in order)))


@given(st.binary(min_size=40, max_size=400))
def test_garbage_is_no_record(data):
    with pytest.raises(ProtocolError):
        list(Opener(KEY).feed(data + bytes(1 << 16)))


@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385, 40_000])
def test_a_payload_of_any_length_ends_with_its_last_part(size):
    payload = os.urandom(size)
    records = list(parts(payload))
    assert b"".join(content for _, content in records) == payload
    assert [record for record, _ in records] == [Record.PART] * (len(records) - 1) + [Record.LAST_PART]


def test_a_signature_is_of_no_use_elsewhere():
    identity, transcript = Ed25519PrivateKey.generate(), os.urandom(32)
    said = introduction(identity, Role.INITIATOR, transcript)
    assert check_introduction(said, Role.INITIATOR, transcript) == identity.public_key().public_bytes_raw()
    for content, role, about in (
        (said, Role.INITIATOR, os.urandom(32)),
        (said, Role.RESPONDER, transcript),
        (os.urandom(32) + said[32:], Role.INITIATOR, transcript),
        (said[:-1], Role.INITIATOR, transcript),
        (b"", Role.INITIATOR, transcript),
    ):
        with pytest.raises(ProtocolError):
            check_introduction(content, role, about)


class Wire:
    """One end of a channel in memory; `changed` may be an attacker."""

    def __init__(self, changed=lambda data: data):
        self.sent, self.peer, self.changed = [], None, changed

    def send(self, data):
        self.sent.append(self.changed(data))

    def receive(self):
        return self.peer.sent.pop(0) if self.peer.sent else b""

    def close(self):
        pass


def conversations(changed=lambda data: data):
    wires = {Role.INITIATOR: Wire(changed), Role.RESPONDER: Wire()}
    for role, wire in wires.items():
        wire.peer = wires[role.other]
    keys = {Role.INITIATOR: (b"i" * 32, b"r" * 32), Role.RESPONDER: (b"r" * 32, b"i" * 32)}
    return [Conversation(wire, PairResult(b"", keys[role], "", b"t" * 32, 24.3, 0), 5.0) for role, wire in wires.items()]


def both(*calls):
    """Two calls at once; what they return, or raise."""
    answers = [None, None]

    def run(place, call):
        try:
            answers[place] = call()
        except RtmelodyError as error:
            answers[place] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_devices_introduce_themselves_and_talk():
    one, other = conversations()
    identities = [Ed25519PrivateKey.generate() for _ in range(2)]
    met = both(lambda: one.introduce(Role.INITIATOR, identities[0]), lambda: other.introduce(Role.RESPONDER, identities[1]))
    assert met == [identity.public_key().public_bytes_raw() for identity in reversed(identities)]
    payload, kept = os.urandom(50_000), []
    assert both(lambda: one.send(payload), lambda: other.receive(kept.append)) == [None, None]
    assert kept == [payload]


def test_what_could_not_be_kept_is_not_acknowledged():
    def full(_payload):
        raise OutputError("No space left on device.")

    one, other = conversations()
    sent, refused = both(lambda: one.send(b"a secret"), lambda: other.receive(full))
    assert isinstance(sent, PairingTimeoutError)
    assert isinstance(refused, OutputError)


def test_a_pairing_serves_one_conversation():
    """A second one would begin its count of records anew under the same keys."""
    result = PairResult(b"", (b"i" * 32, b"r" * 32), "", b"t" * 32, 24.3, 0)
    Conversation(Wire(), result)
    with pytest.raises(PairingError, match="in use"):
        Conversation(Wire(), result)


def test_breaking_off_ends_a_conversation():
    stopping = threading.Event()
    stopping.set()
    wire = Wire()
    conversation = Conversation(wire, PairResult(b"", (b"i" * 32, b"r" * 32), "", b"t" * 32, 24.3, 0), stopping=stopping)
    with pytest.raises(PairingTimeoutError, match="broken off"):
        conversation.send(b"a secret")
    assert wire.sent == []


def test_nobody_gets_half_a_payload():
    cut, kept = iter([True, True, False]), []
    one, other = conversations(lambda data: data if next(cut) else b"")
    sent, received = both(lambda: one.send(os.urandom(40_000)), lambda: other.receive(kept.append))
    assert isinstance(sent, PairingTimeoutError)
    assert isinstance(received, PairingTimeoutError)
    assert not kept


def test_too_large_a_payload_is_refused():
    one, other, kept = *conversations(), []
    sent, received = both(lambda: one.send(bytes((1 << 20) + 1)), lambda: other.receive(kept.append))
    assert isinstance(sent, PairingError)
    assert "more than 1 MiB" in str(received)
    assert not kept


def test_peers_are_remembered_and_forgotten(tmp_path):
    peers, public = Peers(tmp_path / "home"), os.urandom(32)
    assert peers.known() == {}
    name, peer = peers.remember(public)
    assert peer.times == 1
    assert Peers(tmp_path / "home").remember(public)[1].times == 2
    peers.forget(name)
    assert peers.known() == {}
    with pytest.raises(PairingError, match="rtmelody pair peers"):
        peers.forget(name)


def test_an_identity_is_kept_for_its_owner_alone(tmp_path):
    one, other = (Peers(tmp_path).identity().public_key().public_bytes_raw() for _ in range(2))
    assert one == other
    assert (tmp_path / "identity.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "identity.key").write_bytes(b"short")
    with pytest.raises(ConfigError, match="32 bytes"):
        Peers(tmp_path).identity()


def test_a_damaged_memory_is_said_in_a_sentence(tmp_path):
    (tmp_path / "peers.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match="damaged"):
        Peers(tmp_path).known()


def test_three_failures_lock_out_for_a_while(tmp_path, monkeypatch):
    peers, now = Peers(tmp_path), [1e9]
    monkeypatch.setattr(memory.time, "time", lambda: now[0])
    for failures in range(3):
        peers.check_lockout()
        assert failures < 3
        peers.expect_failure()
    with pytest.raises(LockedOutError, match=r"10 min\."):
        peers.check_lockout()
    now[0] -= 3_600.0  # whoever sets the clock back waits all the same
    with pytest.raises(LockedOutError, match=r"10 min\."):
        peers.check_lockout()
    now[0] += memory.LOCKOUT_S
    peers.check_lockout()
    peers.succeeded()
    peers.expect_failure()
    peers.check_lockout()
