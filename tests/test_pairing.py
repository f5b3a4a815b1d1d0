"""Pairing, as far as it needs no sound: honest devices, and attackers who must lose."""

import itertools
import math
import os
import random
import re

import numpy as np
import pytest
from conftest import ROOT, counting
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.pairing.attack import man_in_the_middle, perfectly_heard
from rtmelody.errors import InterferenceError, MelodyError, MismatchError, PairingError, PairingTimeoutError, ProtocolError
from rtmelody.pairing.attempt import Alarm, Rules, Send, Sound, State
from rtmelody.pairing.ear import Disturbance, Ear
from rtmelody.pairing.melody import (
    ALPHABET,
    LEAD_IN_NOTES,
    LOWEST_PITCH,
    Melody,
    Role,
    alarm_notes,
    comb_of,
    notes_of,
    symbol_of,
    symbols_of,
)
from rtmelody.pairing.messages import LENGTHS, Message, Parser, Type
from rtmelody.pairing.party import SETTLING
from rtmelody.pairing.session import Session
from rtmelody.pairing.tones import synthesize

RULES = Rules()
SHORT = Rules(notes=4, tolerance=1)


class Air:
    """Two sessions, a wire and a room between them; `wire(role, data)` and `room(role, notes)` may change what passes."""

    def __init__(self, rules=RULES, entropy=os.urandom, wire=lambda _role, data: data, room=lambda _role, notes: notes):
        self.sessions = {role: Session(role, entropy, rules) for role in Role}
        self.rules, self.wire, self.room, self.alarms = rules, wire, room, []

    def run(self):
        queue = [(role, output) for role, session in self.sessions.items() for output in session.start()]
        while queue:
            role, output = queue.pop(0)
            for at, found in self._pass(role, output):
                queue += [(at, one) for one in found]
        return self.sessions[Role.INITIATOR], self.sessions[Role.RESPONDER]

    def _pass(self, role, output):
        own, peer = self.sessions[role], self.sessions[role.other]
        if isinstance(output, Send):
            yield role.other, peer.receive(self.wire(role, output.data))
        elif isinstance(output, Alarm):
            self.alarms.append(role)
            yield role.other, peer.disturbed()
        else:
            yield role, own.heard(perfectly_heard(output.notes))
            yield role, own.played()
            yield role.other, peer.heard(perfectly_heard(self.room(role, output.notes)))
        if own.state in SETTLING:
            yield role, own.quiet()
        if peer.state in SETTLING:
            yield role.other, peer.quiet()


def assert_no_key(*sessions):
    """Not now, and not if they wait in vain."""
    for session in sessions:
        assert session.result is None
        session.timed_out()
        assert session.result is session._keys is session._private is None
        assert session.state is not State.PAIRED


def test_honest_devices_share_a_key():
    one, other = Air().run()
    assert one.state is other.state is State.PAIRED
    assert one.result.session_key == other.result.session_key
    assert one.result.directions == other.result.directions[::-1] != other.result.directions
    assert one.result.transcript_hash == other.result.transcript_hash
    assert one.result.authentication_bits == pytest.approx(24.3, abs=0.05)
    assert one.result.notes_wrong == 0


def test_every_pairing_has_its_own_key_and_melody():
    played = []
    keys = {Air(room=lambda _, notes: played.append(notes) or notes).run()[0].result.session_key for _ in range(5)}
    assert len(keys) == 5
    assert len({notes[LEAD_IN_NOTES:] for notes in played}) == 5  # both devices play the same body


def test_results_and_keys_do_not_show_their_secrets():
    one, _ = Air().run()
    for secret in (one.result.session_key, one.result.directions[0]):
        assert repr(secret)[2:10] not in repr(one.result)
        assert repr(secret)[2:10] not in repr(one._keys)


def with_wrong_notes(count):
    def room(_role, notes):
        changed = list(notes)
        for place in range(LEAD_IN_NOTES, LEAD_IN_NOTES + count):
            changed[place] = LOWEST_PITCH + (changed[place] - LOWEST_PITCH + 2) % ALPHABET
        return tuple(changed)

    return room


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_some_notes_may_be_misheard(wrong):
    one, other = Air(room=with_wrong_notes(wrong)).run()
    assert one.state is other.state is State.PAIRED
    assert one.result.notes_wrong == wrong


@pytest.mark.parametrize("wrong", [3, 4, 12])
def test_no_more_than_two(wrong):
    air = Air(room=with_wrong_notes(wrong))
    sessions = air.run()
    assert_no_key(*sessions)
    assert {type(session.error) for session in sessions} == {MismatchError, InterferenceError}
    assert air.alarms


def test_an_erasure_counts_as_wrong():
    symbols = symbols_of(os.urandom(32), 12)
    assert Melody(Role.INITIATOR, (None, None, None, *symbols[3:])).distance(symbols) == 3
    with pytest.raises(MelodyError):
        Melody(Role.INITIATOR, symbols[1:]).distance(symbols)


def replaced(kind, role, payload):
    """A wire that sends another payload instead of a role's message."""

    def wire(sender, data):
        return bytes(Message(kind, payload(data[3:]))) if sender is role and data[0] == kind else data

    return wire


def flipped(place):
    return lambda payload: payload[:place] + bytes([payload[place] ^ 1]) + payload[place + 1 :]


FIELDS = [
    (Type.HELLO, Role.INITIATOR, [0, 1, 2, 3, 4, 19]),
    (Type.HELLO, Role.RESPONDER, [0, 1, 2, 3, 4, 19]),
    (Type.COMMIT, Role.INITIATOR, [0, 31]),
    (Type.REVEAL, Role.RESPONDER, [0, 31, 32, 47]),
    (Type.OPEN, Role.INITIATOR, [0, 31, 32, 47]),
    (Type.CONFIRM, Role.INITIATOR, [0, 31]),
    (Type.CONFIRM, Role.RESPONDER, [0, 31]),
]


@pytest.mark.parametrize(("kind", "role", "place"), [(kind, role, place) for kind, role, places in FIELDS for place in places])
def test_no_field_can_be_changed(kind, role, place):
    """The victim of the change gets no key; a changed last message cannot take back the sender's."""
    one, other = Air(wire=replaced(kind, role, flipped(place))).run()
    victim = other if role is Role.INITIATOR else one
    assert_no_key(victim)
    if kind is not Type.CONFIRM:
        assert_no_key(one, other)


def test_a_commitment_must_be_opened_rightly():
    """CVE-2016-6271: a responder that does not check gives a man in the middle as many guesses as it wants."""
    sessions = Air(wire=replaced(Type.OPEN, Role.INITIATOR, lambda payload: os.urandom(len(payload)))).run()
    assert_no_key(*sessions)
    assert "committed" in str(sessions[1].error)


@pytest.mark.parametrize(
    "low_order",
    [bytes(32), bytes([1]) + bytes(31), bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")],
)
def test_keys_of_low_order_are_refused(low_order):
    sessions = Air(wire=replaced(Type.REVEAL, Role.RESPONDER, lambda payload: low_order + payload[32:])).run()
    assert_no_key(*sessions)
    assert isinstance(sessions[0].error, ProtocolError)


@pytest.mark.parametrize("role", Role)
def test_reflection_is_refused(role):
    """Everything that a device says comes back to it."""
    session = Session(role, os.urandom)
    (greeting,) = session.start()
    session.receive(greeting.data)
    assert isinstance(session.error, ProtocolError)
    assert_no_key(session)


def test_the_own_key_sent_back_is_refused():
    sent = {}

    def wire(sender, data):
        sent[sender, data[0]] = data
        if data[0] == Type.OPEN:
            return bytes(Message(Type.OPEN, sent[Role.RESPONDER, Type.REVEAL][3:35] + data[35:]))
        return data

    assert_no_key(*Air(wire=wire).run())


def test_two_of_the_same_role_do_not_pair():
    one, other = Session(Role.INITIATOR, os.urandom), Session(Role.INITIATOR, os.urandom)
    one.receive(other.start()[0].data)
    assert "same role" in str(one.error)


def test_an_old_transcript_is_of_no_use():
    """A recorded initiator, bytes and melody, against a new responder."""
    said, played = [], []
    Air(
        wire=lambda role, data: (said.append(data) if role is Role.INITIATOR else None) or data,
        room=lambda role, notes: (played.append(notes) if role is Role.INITIATOR else None) or notes,
    ).run()
    victim = Session(Role.RESPONDER, os.urandom)
    victim.start()
    for data in said[:3]:
        victim.receive(data)
    victim.heard(perfectly_heard(played[0]))
    assert_no_key(victim)


@pytest.mark.parametrize("state", [state for state in State if state not in (State.PAIRED, State.FAILED)])
@pytest.mark.parametrize("given", [*Type, *Sound])
def test_whatever_is_out_of_turn_ends_the_attempt(state, given):
    session = Session(Role.INITIATOR if state.name.startswith("I") else Role.RESPONDER, os.urandom)
    session.state = state
    if (state, given) in Session.TRANSITIONS:
        return
    if isinstance(given, Type):
        session.receive(bytes(Message(given, bytes(LENGTHS[given]))))
    elif given is Sound.PLAYED:
        session.played()
    elif given is Sound.QUIET:
        session.quiet()
    else:
        session.heard(Melody(session.role if given is Sound.OWN else session.role.other, (0,) * 12))
    assert isinstance(session.error, ProtocolError)
    assert_no_key(session)


def test_a_plaintext_paired_is_no_message():
    session = Session(Role.INITIATOR, os.urandom)
    session.receive(b"PAIRED\n")
    assert isinstance(session.error, ProtocolError)


def test_nothing_follows_a_failure():
    session = Session(Role.RESPONDER, os.urandom)
    session.timed_out()
    assert isinstance(session.error, PairingTimeoutError)
    assert session.played() == session.disturbed() == session.receive(b"\x01") == []
    assert isinstance(session.error, PairingTimeoutError)


def test_alarm_and_lead_ins_cannot_be_parts_of_a_body():
    """Within a body neighbours lie on different combs; in these they lie on the same one."""
    for notes in (
        alarm_notes(),
        *(notes_of(role, ())[:LEAD_IN_NOTES] for role in Role),
        notes_of(Role.INITIATOR, ())[LEAD_IN_NOTES:],
    ):
        assert all((one - other) % 2 == 0 for one, other in itertools.pairwise(notes))


@given(st.binary(min_size=5, max_size=5), st.sampled_from(list(Role)))
def test_symbols_come_back_from_notes(data, role):
    symbols = symbols_of(data, 12)
    notes = notes_of(role, symbols)
    assert all(one != other for one, other in itertools.pairwise(notes))
    assert perfectly_heard(notes) == Melody(role, symbols)
    assert all(symbol_of(note - LOWEST_PITCH, place + 1) is None for place, note in enumerate(notes[LEAD_IN_NOTES:-2]))
    assert {comb_of(0), comb_of(1)} == {0, 1}


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_garbage_only_ever_raises_our_error(chunks):
    session = Session(Role.RESPONDER, os.urandom)
    for chunk in chunks:
        session.receive(chunk)
    assert session.error is None or isinstance(session.error, PairingError)
    assert session.result is None


@given(st.lists(st.integers(1, 40), max_size=30))
def test_messages_may_be_cut_anywhere(sizes):
    messages = [Message(kind, os.urandom(length)) for kind, length in LENGTHS.items()]
    stream, parser, found = b"".join(map(bytes, messages)), Parser(), []
    for size in [*sizes, len(stream)]:
        found += parser.feed(stream[:size])
        stream = stream[size:]
    assert found == messages


def test_a_wrong_length_is_refused_before_its_payload_comes():
    for header in (bytes([Type.COMMIT, 255, 255]), bytes([Type.COMMIT, 0, 0]), bytes([99])):
        with pytest.raises(ProtocolError):
            list(Parser().feed(header))


def test_the_chance_of_an_attacker_is_what_the_design_says():
    assert RULES.attack_probability == 3319 / 2**36
    assert SHORT.attack_probability == 29 / 4096


@pytest.mark.parametrize(("rules", "runs"), [(SHORT, 4_000), (RULES, 500)])
def test_a_man_in_the_middle_has_one_guess(rules, runs):
    """He pairs with both, and lets them hear each other: nothing else can sound like either."""
    random_bytes = random.Random(5).randbytes  # noqa: S311 (repeatable; no victim but a test)
    successes = sum(man_in_the_middle(rules, random_bytes) for _ in range(runs))
    expected = runs * rules.attack_probability
    assert abs(successes - expected) <= 4 * math.sqrt(expected) + 1e-3


def test_an_ear_hears_what_is_played(network):
    """Both roles' melodies, one after the other, by rtmelody's own network; nothing else."""
    rate, symbols = 44_100, tuple(random.Random(3).choices(range(8), k=12))  # noqa: S311
    pause = np.zeros(rate // 2, np.float32)
    sound = [piece for role in Role for piece in (pause, synthesize(notes_of(role, symbols), rate))]
    ear = Ear(rate, network, RULES.notes)
    found = [one for block in np.array_split(np.concatenate([*sound, pause, pause]), 100) for one in ear.push(block)]
    assert found == [Melody(role, symbols) for role in Role]


def test_a_chord_of_all_notes_is_no_melody(network):
    """Whoever plays every candidate at once is heard as one melody of his, not as the one that is expected."""
    rate, symbols = 44_100, (*range(8), 0, 1, 2, 3)
    lead_in = notes_of(Role.INITIATOR, symbols)
    chord = synthesize(lead_in, rate)
    for step in range(1, 8):
        shifted = [*lead_in[:LEAD_IN_NOTES], *(other(note, step) for note in lead_in[LEAD_IN_NOTES:-2]), *lead_in[-2:]]
        chord = chord + synthesize(shifted, rate)
    ear, pause = Ear(rate, network, RULES.notes), np.zeros(rate, np.float32)
    (one,) = ear.push(np.concatenate((pause, chord / 8, pause)).astype(np.float32))
    assert isinstance(one, Disturbance) or one.distance(symbols) > RULES.tolerance


def other(note, step):
    """Another note of the same comb."""
    return LOWEST_PITCH + (note - LOWEST_PITCH + 2 * step) % ALPHABET


def test_the_alarm_is_heard(network):
    rate, pause = 44_100, np.zeros(3 * 44_100, np.float32)
    ear = Ear(rate, network, RULES.notes)
    assert list(ear.push(np.concatenate((pause, synthesize(alarm_notes(), rate), pause)))) == [Disturbance()]


def test_silence_and_noise_are_no_melodies(network):
    noise = np.random.default_rng(6).normal(0, 0.1, 5 * 44_100).astype(np.float32)
    assert list(Ear(44_100, network, RULES.notes).push(noise)) == []


def test_the_documented_vector():
    document = (ROOT / "docs" / "pairing.md").read_text(encoding="utf-8")
    air = Air()
    air.sessions = {role: Session(role, counting(first)) for role, first in zip(Role, (0, 128), strict=True)}
    said, played = [], []
    air.wire = lambda _role, data: said.append(data) or data
    air.room = lambda _role, notes: played.append(notes) or notes
    one, _ = air.run()
    for data in [*said[:5], one.result.transcript_hash, one.result.session_key]:
        assert data.hex() in document
    assert " ".join(map(str, played[0])) in document


def test_the_documented_tests_exist():
    document = (ROOT / "docs" / "pairing.md").read_text(encoding="utf-8")
    tests = "".join(path.read_text() for path in (ROOT / "tests").glob("test_pair*.py"))
    for name in re.findall(r"`(test_\w+)`", document):
        assert f"def {name}(" in tests
