"""The whole core on real sound: the bundled recording, any cut of it, live against file, and how exact the cents are."""

from itertools import pairwise

import numpy as np
import pytest
from conftest import organ, piano_like, tone
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from rtmelody import NoteOff, NoteOn, Recognizer, notes
from rtmelody.config import Config, Tracker, Tuning
from rtmelody.core import attack
from rtmelody.core.bend import FASTEST, Bend
from rtmelody.core.tuning import TuningFollower
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


@settings(max_examples=5, deadline=None)
@given(st.lists(st.integers(0, 5_000), max_size=10), st.booleans())
def test_nor_while_the_tuning_follows_the_player(demo, network, sizes, follow):
    """Notes are named in the player's tuning; whether their deviations are told from it is another matter."""
    samples, rate = resample_poly(demo[0][: 8 * demo[1]], 100, 102).astype(np.float32), demo[1]
    config = Config(tuning=Tuning(follow=follow))
    whole = recognize(samples, rate, network, config)
    recognizer, events, start = Recognizer(rate, config, network), [], 0
    for size in [*sizes, len(samples)]:
        events += recognizer.push(samples[start : start + size])
        start += size
    assert events + recognizer.flush() == whole
    assert recognizer.framing.a4_hz == pytest.approx(440 * 1.02, rel=0.003)
    told = [event.cents for event in whole if isinstance(event, NoteOn)][9:]
    assert np.median(told) == pytest.approx(0.0 if follow else 1200 * np.log2(1.02), abs=5)
    recognizer.reset()
    assert recognizer.framing.a4_hz == 440.0


@pytest.mark.parametrize(("scattered", "heard"), [(4.0, [30.0]), (60.0, [])])
def test_only_a_steady_tuning_is_followed(scattered, heard):
    """And not farther than where it would be the next semitone's."""
    rng, follower = np.random.default_rng(1), TuningFollower(440.0)
    found = [follower.hear(30.0 + cents, 440.0) for cents in rng.uniform(-scattered, scattered, 8)]
    assert [1200 * np.log2(a4_hz / 440) for a4_hz in found if a4_hz] == pytest.approx(heard, abs=3)
    followed = 440.0
    for _ in range(80):
        followed = follower.hear(15.0, followed) or followed
    assert 1200 * np.log2(followed / 440) == pytest.approx(40.0)


def test_speeds_differ_in_when_a_note_is_named(demo, network):
    """The sooner, the more notes; what is said at leisure is said at once too."""
    samples, rate = demo
    at = {}
    for speed in ("fast", "balanced", "careful"):
        events = recognize(samples, rate, network, Config(tracker=Tracker(speed=speed)))
        at[speed] = [event.at - event.onset for event in events if isinstance(event, NoteOn)]
    assert np.median(at["fast"]) <= np.median(at["balanced"]) < np.median(at["careful"])
    assert np.mean(at["fast"]) < np.mean(at["balanced"]) < np.mean(at["careful"])  # medians tie, since decisions fall on hops
    assert len(at["fast"]) >= len(at["balanced"]) >= len(at["careful"])


@settings(max_examples=30, deadline=None)
@given(st.integers(60, 96), st.floats(0.0, 480.0), st.sampled_from([44_100, 48_000]))
def test_an_onset_is_told_to_a_few_milliseconds(network, pitch, shift, rate):
    """Wherever it lies between two hops."""
    start = round(0.3 * rate + shift)
    note = piano_like(440.0 * 2 ** ((pitch - 69) / 12), 0.4, rate)
    noise = np.random.default_rng(pitch).normal(0, 1e-4, start + len(note))
    noise[start:] += note
    first = next(event for event in recognize(noise.astype(np.float32), rate, network) if isinstance(event, NoteOn))
    assert abs(first.onset - start) < 0.004 * rate


def test_a_bend_follows_a_vibrato(network):
    """Thirty-five cents, 5.5 times a second, two hops late; nothing is jumped."""
    rate = 48_000
    time = np.arange(3 * rate) / rate
    cents = 35 * np.clip(time / 0.4 - 0.6, 0, 1) * np.sin(2 * np.pi * 5.5 * time)
    phase = 2 * np.pi * np.cumsum(440.0 * 2 ** (cents / 1200)) / rate
    sound = 0.15 * np.minimum(1, time / 0.005) * sum(np.sin(h * phase) / h for h in range(1, 9))
    recognizer, bend, bent = Recognizer(rate, None, network), Bend(), []
    for start in range(0, len(sound), 480):
        for event in recognizer.push(sound[start : start + 480].astype(np.float32)):
            bend.begin(event.cents)
        bend.follow(recognizer.cents() or 0.0, 0.01)
        bent.append(bend.cents)
    assert np.sqrt(np.mean((np.array(bent)[22:] - cents[480 * 21 : 480 * 299 : 480]) ** 2)) < 5
    assert max(abs(np.diff(bent))) <= FASTEST * 0.01


def test_a_slow_slide_is_told():
    """Thirty cents in three seconds: no step between two hops is worth telling, but the sum of them is."""
    bend, told = Bend(), 0.0
    for cents in np.linspace(0.0, 30.0, 300):
        told = bend.follow(cents, 0.01) or told
        assert abs(told - cents) < 0.8
    bend.begin(5.0)
    assert bend.follow(5.0, 0.01) is None


def test_a_slip_of_the_tuner_is_no_bend():
    bend = Bend()
    bend.begin(5.0)
    assert [bend.follow(cents, 0.01) for cents in (5.0, -60.0, 5.0, 5.0)] == [None] * 4
    assert [bend.follow(cents, 0.01) for cents in (55.0, 55.0, 55.0)] == [None, 25.0, 45.0]


@given(st.integers(10, 60), st.integers(10, 60), st.sampled_from([8_000, 48_000, 192_000]))
def test_the_attack_is_where_the_power_grew(quiet_ms, loud_ms, rate):
    rng = np.random.default_rng(1)
    quiet, loud = rng.normal(0, 0.01, quiet_ms * rate // 1000), rng.normal(0, 0.1, loud_ms * rate // 1000)
    place = attack.find(np.concatenate((quiet, loud)).astype(np.float32), rate)
    assert abs(place - len(quiet)) <= 0.0015 * rate


@pytest.mark.parametrize("samples", [np.zeros(4_800), np.ones(4_800), np.geomspace(1, 0.1, 4_800), np.ones(100), np.ones(0)])
def test_without_growth_there_is_no_attack(samples):
    assert attack.find(samples.astype(np.float32), 48_000) is None


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


@pytest.mark.parametrize("early", range(0, 480, 96))
def test_a_note_is_as_sharp_as_the_one_that_still_rings(early, network):
    """However the hops lie: what is heard of a next note at its first sign says little yet."""
    frequencies = 2 ** (30 / 1200) * np.array((440.0, 523.25))
    tune = np.concatenate([np.zeros(24_000 - early), *(organ(frequency, 0.5, 48_000) for frequency in frequencies)])
    recognizer = Recognizer(48_000, network=network)
    notes_on = [event for event in recognizer.push(tune.astype(np.float32)) if isinstance(event, NoteOn)]
    assert [event.pitch for event in notes_on] == [69, 72]
    assert [event.cents for event in notes_on] == pytest.approx([30, 30], abs=8)
