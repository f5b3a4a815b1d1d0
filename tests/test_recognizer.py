"""The whole core on real sound: the bundled recording, any cut of it, live against file, and how exact the cents are."""

from itertools import pairwise

import numpy as np
import pytest
from conftest import piano_like, tone
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from rtmelody import NoteOff, NoteOn, Recognizer, notes
from rtmelody.config import Config, Tuning
from rtmelody.live import Playback, run


def recognize(samples, rate, network, config=None):
    recognizer = Recognizer(rate, config, network)
    return recognizer.push(samples) + recognizer.flush()


def test_names_the_bundled_tune(demo, demo_truth, network):
    """Nine in ten of its notes are emitted, with the right pitch, within 100 ms; and little else."""
    samples, rate = demo
    found = notes(recognize(samples, rate, network), rate)
    free = {(note.emitted_at, note.midi) for note in found}
    right = 0
    for onset, _, pitch in demo_truth:
        match = next((one for one in sorted(free) if one[1] == pitch and -0.02 <= one[0] - onset <= 0.1), None)
        right += match is not None
        free.discard(match)
    assert right >= 0.9 * len(demo_truth)
    assert len(free) <= 0.1 * len(demo_truth)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 5_000), max_size=40))
def test_events_do_not_depend_on_the_cut(demo, network, sizes):
    samples, rate = demo[0][: 3 * demo[1]], demo[1]
    whole = recognize(samples, rate, network)
    recognizer, events, start = Recognizer(rate, None, network), [], 0
    for size in [*sizes, len(samples)]:
        events += recognizer.push(samples[start : start + size])
        start += size
    assert events + recognizer.flush() == whole
    assert len(whole) > 4


@pytest.mark.parametrize("rate", [44_100, 48_000])
@pytest.mark.parametrize("block_size", [64, 128, 441])
def test_live_equals_file(demo, network, rate, block_size):
    samples = resample_poly(demo[0][: 4 * demo[1]], rate, demo[1]).astype(np.float32)
    expected = recognize(samples, rate, network)
    live = []
    status = run(Playback(samples, rate, block_size, pace=4.0), Recognizer(rate, None, network), live.append)
    assert status.overflows == 0
    assert live == expected


def test_flush_and_reset_end_notes(network):
    recognizer = Recognizer(44_100, None, network)
    events = recognizer.push(piano_like(440.0, 0.4, 44_100))
    assert [type(event) for event in events] == [NoteOn]
    (off,) = recognizer.reset()
    assert off.pitch == 69
    assert recognizer.flush() == []
    assert recognizer.push(piano_like(440.0, 0.4, 44_100)) == events


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000, 96_000])
def test_a_note_at_any_rate(network, rate):
    events = recognize(np.concatenate((np.zeros(rate // 5, np.float32), piano_like(261.63, 0.5, rate))), rate, network)
    assert events[0].pitch == 60
    assert 0 <= events[0].at / rate - 0.2 < 0.06
    assert abs(events[0].onset / rate - 0.2) < 0.02


@pytest.mark.parametrize("level", [0.0, 1e-5, 1e-3, 0.1])
def test_silence_and_white_noise_are_no_notes(network, level):
    noise = np.random.default_rng(4).normal(0, level, 44_100 * 5).astype(np.float32)
    assert recognize(noise, 44_100, network) == []


def test_survives_what_is_no_sound(network):
    """One NaN or an absurd level from a faulty driver is forgotten."""
    recognizer = Recognizer(44_100, None, network)
    recognizer.push(np.array([np.nan, np.inf, 1e30, -1e30] * 500, np.float32))
    recognizer.push(np.zeros(44_100, np.float32))
    (on,) = recognizer.push(piano_like(440.0, 0.4, 44_100))
    assert on.pitch == 69


def test_notes_of_a_file_never_overlap(demo, network):
    found = notes(recognize(*demo, network), demo[1])
    for before, after in pairwise(found):
        assert before.onset < before.offset <= after.onset


def test_a_struck_note_ends_where_it_begins_anew():
    """The new onset is estimated backwards, past the emission of the NoteOff."""
    events = [NoteOn(100, 60, 64, 90, 1.0, 0.0), NoteOff(200, 60), NoteOn(200, 60, 64, 185, 1.0, 0.0), NoteOff(300, 60)]
    first, second = notes(events, 1_000)
    assert first.offset == second.onset == 0.185
    assert second.offset == 0.3


@pytest.mark.parametrize("cents", [-40, -12, 0, 25])
@pytest.mark.parametrize(("pitch", "exactness"), [(60, 10), (69, 10), (84, 3), (96, 3)])
def test_cents_of_a_sine(network, pitch, exactness, cents):
    """At the decision already; high notes more exactly, since their resonators have settled by then."""
    samples = tone(440 * 2 ** ((pitch - 69 + cents / 100) / 12), 0.5, 48_000)
    on = next(event for event in recognize(samples, 48_000, network) if isinstance(event, NoteOn) and event.pitch == pitch)
    assert on.cents == pytest.approx(cents, abs=exactness)


def test_tuning_moves_the_bank(network):
    """At A4 = 415 Hz, a tone of 415 Hz is an A."""
    config = Config(tuning=Tuning(a4_hz=415.0))
    on = recognize(piano_like(415.0, 0.4, 44_100), 44_100, network, config)[0]
    assert on.pitch == 69
    assert abs(on.cents) < 5
