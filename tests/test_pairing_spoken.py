"""Pairing by sound alone, as far as it needs no sound: frames of notes, honest devices, attackers who must lose."""

import os

import pytest
from conftest import ROOT, counting
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.pairing.attack import perfectly_heard
from rtmelody.errors import InterferenceError, MelodyError, MismatchError, PairingError, ProtocolError
from rtmelody.pairing.attempt import Alarm, Rules, State
from rtmelody.pairing.frames import BYTES, PARITY, Frame, Kind, notes_in
from rtmelody.pairing.melody import ALPHABET, CLOSE, LEAD_IN_NOTES, LOWEST_PITCH, Melody, Role, notes_of
from rtmelody.pairing.party import SETTLING
from rtmelody.pairing.spoken import SpokenSession

frames = st.sampled_from(list(Kind)).flatmap(
    lambda kind: st.binary(min_size=BYTES[kind], max_size=BYTES[kind]).map(lambda data: Frame(kind, data))
)


@given(frames)
def test_frames_come_back_from_notes(frame):
    assert len(frame.symbols()) == notes_in(frame.kind)
    assert Frame.read(frame.kind, frame.symbols()) == frame


@given(frames, st.data())
def test_frames_are_mended_up_to_the_bound(frame, data):
    """Each wrong symbol takes two of the sixteen parities, each erased one."""
    notes = list(frame.symbols())
    places = data.draw(st.lists(st.integers(0, len(notes) // 2 - 1), unique=True, max_size=PARITY))
    wrong = places[: PARITY - len(places)]
    for place in places:
        notes[2 * place] = (notes[2 * place] + 1) % 8 if place in wrong else None
    assert Frame.read(frame.kind, notes) == frame


@given(st.sampled_from(list(Kind)), st.data())
def test_garbage_is_never_a_frame(kind, data):
    """Even where not too much of it is erased for the decoder to try."""
    notes = data.draw(st.lists(st.integers(0, 7), min_size=notes_in(kind), max_size=notes_in(kind)))
    for place in data.draw(st.lists(st.integers(0, len(notes) - 1), max_size=PARITY)):
        notes[place] = None
    with pytest.raises(MelodyError):
        Frame.read(kind, notes)


@pytest.mark.parametrize(
    ("said", "expected"), [(Kind.RESPONDER_KEY, Kind.INITIATOR_KEY), (Kind.INITIATOR_KEY, Kind.RESPONDER_KEY)]
)
def test_a_frame_of_another_kind_is_refused(said, expected):
    with pytest.raises(MelodyError):
        Frame.read(expected, Frame(said, os.urandom(32)).symbols())


def converse(room=lambda _role, notes: notes, rules=None, entropies=(os.urandom, os.urandom)):
    """Both sessions after their attempt, and who sounded the alarm; `room(role, notes)` may change what is heard."""
    sessions = {role: SpokenSession(role, entropy, rules) for role, entropy in zip(Role, entropies, strict=True)}
    queue = [(role, output) for role, session in sessions.items() for output in session.start()]
    alarms = []
    while queue:
        role, output = queue.pop(0)
        own, peer = sessions[role], sessions[role.other]
        if isinstance(output, Alarm):
            alarms.append(role)
            queue += [(role.other, one) for one in peer.disturbed()]
            continue
        queue += [(role, one) for one in own.played()]
        queue += [(role.other, one) for one in peer.heard(perfectly_heard(room(role, output.notes)))]
    for session in sessions.values():
        if session.state in SETTLING:
            session.quiet()
    return *sessions.values(), alarms


def test_honest_devices_share_a_key():
    one, other, alarms = converse()
    assert one.state is other.state is State.PAIRED
    assert one.result.session_key == other.result.session_key
    assert one.result.directions == other.result.directions[::-1]
    assert one.result.transcript_hash == other.result.transcript_hash
    assert not alarms


def changed(kind, role, data):
    """A room in which another frame of a kind is heard instead of a role's."""

    def room(player, notes):
        if player is role and len(notes) == LEAD_IN_NOTES + notes_in(kind) + len(CLOSE):
            return notes_of(role, Frame(kind, data(kind)).symbols())
        return notes

    return room


@pytest.mark.parametrize(
    ("kind", "role"),
    [(Kind.COMMITMENT, Role.INITIATOR), (Kind.RESPONDER_KEY, Role.RESPONDER), (Kind.INITIATOR_KEY, Role.INITIATOR)],
)
def test_no_frame_can_be_replaced(kind, role):
    one, other, alarms = converse(changed(kind, role, lambda kind: os.urandom(BYTES[kind])))
    assert one.result is other.result is None
    assert {type(one.error), type(other.error)} & {MismatchError, ProtocolError}
    assert alarms


def test_a_spoken_commitment_must_be_opened_rightly():
    _, other, _ = converse(changed(Kind.INITIATOR_KEY, Role.INITIATOR, lambda _: os.urandom(32)))
    assert "committed" in str(other.error)


def test_keys_of_low_order_are_refused_by_ear_too():
    one, _, _ = converse(changed(Kind.RESPONDER_KEY, Role.RESPONDER, lambda _: bytes(32)))
    assert "low order" in str(one.error)


def test_wrong_notes_in_the_short_melody_end_it():
    def room(_role, notes):
        if len(notes) > LEAD_IN_NOTES + 12 + len(CLOSE):
            return notes
        body = [LOWEST_PITCH + (note - LOWEST_PITCH + 2) % ALPHABET for note in notes[LEAD_IN_NOTES : LEAD_IN_NOTES + 3]]
        return (*notes[:LEAD_IN_NOTES], *body, *notes[LEAD_IN_NOTES + 3 :])

    one, other, _ = converse(room)
    assert one.result is other.result is None
    assert {type(one.error), type(other.error)} == {MismatchError, InterferenceError}


@given(st.lists(st.tuples(st.sampled_from(list(Role)), st.lists(st.none() | st.integers(0, 7), max_size=130)), max_size=6))
def test_garbled_melodies_only_ever_raise_our_error(melodies):
    session = SpokenSession(Role.RESPONDER, os.urandom)
    for role, symbols in melodies:
        session.heard(Melody(role, tuple(symbols)))
        session.played()
    assert session.result is None
    assert session.error is None or isinstance(session.error, PairingError)


def test_a_man_in_the_middle_has_one_guess_by_ear_too():
    """He replaces both keys, his own commitment included; the melodies of the two victims differ."""
    keys = [SpokenSession(Role.INITIATOR, os.urandom) for _ in range(2)]

    def room(role, notes):
        kind = next((kind for kind in Kind if len(notes) == LEAD_IN_NOTES + notes_in(kind) + len(CLOSE)), None)
        if kind is None:
            return notes
        if kind is Kind.COMMITMENT:
            return notes_of(role, Frame(kind, keys[0]._commitment).symbols())
        kind = Kind.INITIATOR_KEY if role is Role.INITIATOR else Kind.RESPONDER_KEY
        return notes_of(role, Frame(kind, keys[0 if role is Role.INITIATOR else 1]._public).symbols())

    successes = sum(converse(room, Rules(notes=4, tolerance=1))[0].result is not None for _ in range(300))
    assert successes <= 12  # 29/4096 of them: 2.1 are expected


def test_the_documented_vector_by_ear():
    document = (ROOT / "docs" / "pairing.md").read_text(encoding="utf-8")
    played = []
    one, _, _ = converse(lambda _role, notes: played.append(notes) or notes, entropies=(counting(0), counting(128)))
    for data in (one.result.transcript_hash, one.result.session_key):
        assert data.hex() in document
    for notes in (played[0], played[3]):
        assert " ".join(map(str, notes)) in document
