"""Following a score through planted errors, restarts and drifting tempi; scores from files; the report."""

import json
import signal
import subprocess
import sys
from collections import Counter

import mido
import numpy as np
import pytest
from conftest import DATA, jackd, needs, write_midi
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly
from stage import Stage, Theatre, until

from rtmelody.core.assessment import assess
from rtmelody.core.score import Follower, ScoreNote
from rtmelody.errors import ScoreError
from rtmelody.events import Note
from rtmelody.io.scores import read_score

SCALE = (0, 2, 4, 5, 7, 9, 11)
BEAT_S = 0.45
RATE, HEARD_S = 48_000, 1.98  # of the demonstration: notes that are the same wherever the stream is cut into hops
TIMES = 3  # that they are played
WRONG_BY, EXTRA_BY = (-5, -3, -2, -1, 1, 2, 3, 5), (-4, -2, -1, 1, 2, 4, 7)


def tune(rng, length=48):
    """Steps and small leaps on a scale, in eighths, quarters and halves, with some repeated notes."""
    place, beat, notes = 14, 0.0, []
    for _ in range(length):
        beats = rng.choice((0.5, 0.5, 1.0, 1.0, 2.0))
        notes.append(ScoreNote(beat * BEAT_S, beats * BEAT_S, 48 + 12 * (place // 7) + SCALE[place % 7], int(beat // 4) + 1))
        beat += beats
        place = int(np.clip(place + rng.choice((-4, -2, -1, 0, 1, 2, 4)), 4, 24))
    return notes


def played(onset, pitch):
    return Note(onset, onset + 0.1, int(pitch), 90, 0.9, 0.0, onset + 0.04)


def perform(score, rng):
    """A performance at a tempo of its own that drifts by up to a fifth, with a restart; and its planted errors.

    Of a hundred notes three are missed, three are wrong, and after three comes an extra one. Errors are (kind, pitch expected,
    pitch played).
    """
    base, drift = rng.uniform(0.7, 1.4), rng.uniform(-0.2, 0.2)
    turn, back = int(rng.integers(len(score) // 3, len(score) - 3)), int(rng.integers(4, 12))
    order = [*range(turn + 1), *range(turn + 1 - back, len(score))]
    notes, planted, now = [], [], 0.5
    for number, index in enumerate(order):
        note = score[index]
        tempo = base * (1 + drift * number / len(order))
        onset, luck = now + rng.normal(0, 0.02), rng.random() if 2 < number < len(order) - 3 else 1.0
        now += note.duration * tempo + (rng.uniform(0.2, 1.0) if number == turn else 0.0)
        if luck < 0.03:
            planted.append(("missed", note.pitch, None))
            continue
        wrong = note.pitch + int(rng.choice(WRONG_BY)) if luck < 0.06 else note.pitch
        notes.append(played(onset, wrong))
        if wrong != note.pitch:
            planted.append(("wrong", note.pitch, wrong))
        elif luck < 0.09:
            notes.append(played(onset + note.duration * tempo * rng.uniform(0.4, 0.6), note.pitch + int(rng.choice(EXTRA_BY))))
            planted.append(("extra", None, notes[-1].midi))
    return notes, planted


def test_planted_errors_are_found_and_few_others():
    """Ninety-five in a hundred; and of the notes that were right at most two in a hundred are blamed."""
    planted, found, right, alarms = 0, 0, 0, 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        score = tune(rng)
        performance, errors = perform(score, rng)
        verdicts = assess(score, performance).verdicts
        blamed = Counter((one.kind, one.expected, one.played) for one in verdicts if one.kind != "right")
        expected = Counter(errors)
        planted += expected.total()
        found += (blamed & expected).total()
        alarms += (blamed - expected).total()
        right += len(performance) - sum(kind != "missed" for kind, *_ in errors)
    assert found / planted >= 0.95
    assert alarms / right <= 0.02


def test_the_place_is_known_while_it_is_played():
    reached = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        score = tune(rng)
        follower = Follower(score)
        reached += [follower.hear(note.onset * 1.3, note.pitch) == place for place, note in enumerate(score)]
    assert np.mean(reached) >= 0.98


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1_000), st.floats(0.5, 2.0), st.floats(0.0, 100.0))
def test_a_faultless_performance_is_right_at_any_tempo(seed, tempo, start):
    score = tune(np.random.default_rng(seed), 20)
    found = assess(score, [played(start + note.onset * tempo, note.pitch) for note in score])
    assert (found.right, found.wrong, found.missed, found.extra, found.jumps) == (20, 0, 0, 0, 0)
    assert [bar.tempo for bar in found.bars if bar.tempo] == pytest.approx([1 / tempo] * len(found.bars), rel=0.02)


def test_a_bar_that_is_played_again_keeps_its_tempo():
    score = tune(np.random.default_rng(3), 24)
    first, again = [note for note in score if note.bar <= 2], [note for note in score if note.bar == 2]
    length = score[len(first)].onset
    notes = [played(note.onset, note.pitch) for note in first]
    notes += [played(note.onset - again[0].onset + length + 0.5, note.pitch) for note in again]
    found = assess(score, notes)
    assert (found.right, found.jumps) == (len(notes), 1)
    assert [bar.tempo for bar in found.bars if bar.tempo] == pytest.approx([1.0, 1.0], abs=0.01)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(0, 127)), max_size=40), st.integers(1, 12))
def test_whatever_is_played_every_note_has_a_verdict(steps, length):
    score = tune(np.random.default_rng(length), length)
    times = np.cumsum([step for step, _ in steps])
    notes = [played(float(time), pitch) for time, (_, pitch) in zip(times, steps, strict=True)]
    found = assess(score, notes)
    assert [one.played for one in found.verdicts if one.kind != "missed"] == [note.midi for note in notes]
    assert found.right + found.wrong + found.extra == len(notes)
    assert sum(bar.right + bar.wrong + bar.missed for bar in found.bars) == found.right + found.wrong + found.missed


def test_midi_scores_have_bars(tmp_path):
    write_midi(tmp_path / "waltz.mid", [(beat / 2, beat / 2 + 0.4, 60 + beat) for beat in range(7)], numerator=3)
    score = read_score(tmp_path / "waltz.mid")
    assert [note.pitch for note in score] == [60, 61, 62, 63, 64, 65, 66]
    assert [note.bar for note in score] == [1, 1, 1, 2, 2, 2, 3]
    assert [note.onset for note in score] == pytest.approx(np.arange(7) / 2)


def test_a_pitch_that_is_struck_again_before_its_end_is_two_notes(tmp_path):
    write_midi(tmp_path / "again.mid", [(0.0, 1.0, 60), (0.5, 1.5, 60)])
    assert [(note.pitch, note.onset) for note in read_score(tmp_path / "again.mid")] == [(60, 0.0), (60, 0.5)]


def test_drums_are_no_melody(tmp_path):
    path = tmp_path / "band.mid"
    write_midi(path, [(0.0, 0.9, 60), (1.0, 1.9, 62)])
    band = mido.MidiFile(path)
    beats = [mido.Message("note_on", channel=9, note=42, velocity=90, time=120) for _ in range(8)]
    band.tracks.append(mido.MidiTrack(beats))
    band.save(path)
    assert [note.pitch for note in read_score(path)] == [60, 62]


def test_of_a_tunebook_the_first_tune_counts(tmp_path):
    tunes = [f"X:{number}\nT:Tune\nM:4/4\nL:1/4\nK:C\n{notes}|\n" for number, notes in enumerate(("CDEF", "GABc"), 1)]
    (tmp_path / "book.abc").write_text("\n".join(tunes))
    assert [note.pitch for note in read_score(tmp_path / "book.abc")] == [60, 62, 64, 65]


def test_what_no_message_ends_the_end_of_the_score_does(tmp_path):
    path = tmp_path / "cut.mid"
    write_midi(path, [(0.0, 1.0, 60), (1.0, 2.0, 62)])
    cut = mido.MidiFile(path)
    for track in cut.tracks:
        track[:] = [message for message in track if (message.type, getattr(message, "note", 0)) != ("note_off", 62)]
    cut.save(path)
    assert [(note.pitch, note.onset) for note in read_score(path)] == [(60, 0.0), (62, 1.0)]


def test_abc_and_musicxml_scores_have_bars(tmp_path):
    """Also where a tie leads from one into the next, and when they are repeated; a pickup is bar 0."""
    music21 = pytest.importorskip("music21")
    (tmp_path / "tune.abc").write_text("X:1\nT:Tune\nM:4/4\nL:1/4\nK:C\nCDEF-|FABc|cBAG:|\n")
    (tmp_path / "pickup.abc").write_text("X:1\nT:Tune\nM:4/4\nL:1/4\nK:C\nC|CDEF|G4|\n")
    music21.converter.parse(tmp_path / "tune.abc").write("musicxml", tmp_path / "tune.musicxml")
    for name in ("tune.abc", "tune.musicxml"):
        assert [note.bar for note in read_score(tmp_path / name)] == [1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3] * 2
    assert [note.bar for note in read_score(tmp_path / "pickup.abc")] == [0, 1, 1, 1, 1, 2]


def test_abc_and_musicxml_scores_are_written_out(tmp_path):
    """With their repeats, as often as they are played."""
    (tmp_path / "tune.abc").write_text("X:1\nT:Tune\nM:4/4\nL:1/4\nK:C\n|:CDEF|GABc|cBAG|FEDC:|\n")
    up = [60, 62, 64, 65, 67, 69, 71, 72]
    once = up + up[::-1]
    assert [note.pitch for note in read_score(tmp_path / "tune.abc")] == once * 2
    music21 = pytest.importorskip("music21")
    music21.converter.parse(tmp_path / "tune.abc").write("musicxml", tmp_path / "tune.musicxml")
    assert [note.pitch for note in read_score(tmp_path / "tune.musicxml")] == once * 2


def test_a_score_is_what_sounds(tmp_path):
    """A clarinet in B flat sounds a tone lower than it is written; a grace note is no note of a chord."""
    music21 = pytest.importorskip("music21")
    part = music21.stream.Part([music21.instrument.Clarinet(), music21.note.Note("D5"), music21.note.Note("E5")])
    part.insertAndShift(1.0, music21.note.Note("G5").getGrace())
    part.write("musicxml", tmp_path / "clarinet.musicxml")
    assert [note.pitch for note in read_score(tmp_path / "clarinet.musicxml")] == [72, 74]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.mid", None, "no score"),
        ("text.txt", b"CDE", "MusicXML"),
        ("noise.mid", b"\x00" * 100, "no MIDI file"),
        ("empty.mid", b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x01\xe0MTrk\x00\x00\x00\x04\x00\xff\x2f\x00", "no note"),
        ("timeless.mid", b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x00\x00MTrk\x00\x00\x00\x04\x00\xff\x2f\x00", "beats"),
        ("noise.musicxml", b"<score", "cannot be read"),
    ],
)
def test_a_bad_score_is_said_in_a_sentence(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ScoreError, match=message):
        read_score(tmp_path / name)


def test_the_demonstration_against_its_score(demo_truth, tmp_path):
    """One note of the score is changed, one left out: so one was played wrong, and one too many."""
    notes = [(onset, offset, int(pitch)) for onset, offset, pitch in demo_truth]
    notes[10] = (*notes[10][:2], notes[10][2] + 2)
    del notes[30]
    write_midi(tmp_path / "score.mid", notes)
    command = [sys.executable, "-m", "rtmelody", "report", DATA / "demo.ogg", "--score", tmp_path / "score.mid"]
    told = subprocess.run([*command, "--json"], capture_output=True, check=True)
    found = json.loads(told.stdout)
    assert (found["wrong"], found["extra"], found["missed"]) == (1, 1, 0)
    assert found["right"] == len(notes) - 1
    subprocess.run([*command, "-o", tmp_path / "report.html"], capture_output=True, check=True)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 2
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )


@needs("jackd", "jack_wait", "jack_lsp")
def test_a_score_is_followed_on_the_page_and_reported(demo, demo_truth, tmp_path):
    """One note of the score is other than what is played: the page is told so at once, the report at the end has it too.

    The report is asked for while the last note sounds, which is then neither missed nor to be waited for.
    """
    phrase = [(onset, offset, int(pitch)) for onset, offset, pitch in demo_truth if onset < HEARD_S - 0.1]
    rows = [(HEARD_S * n + onset, HEARD_S * n + offset, pitch) for n in range(TIMES) for onset, offset, pitch in phrase]
    rows[5] = (*rows[5][:2], rows[5][2] + 2)
    write_midi(tmp_path / "score.mid", rows)
    options = ("--score", tmp_path / "score.mid", "--report", tmp_path / "report.json")
    tune = resample_poly(np.tile(demo[0][: round(HEARD_S * demo[1])], TIMES), RATE, demo[1]).astype(np.float32)
    with jackd(RATE, "-S", "-t", "2000", period=256), Stage(tmp_path) as stage:
        theatre = Theatre(stage, tune, *options)
        with theatre.socket("live") as viewer:
            expected = until(viewer, lambda message: "score" in message)["score"]
            theatre.play()
            until(viewer, lambda message: message.get("place") == len(rows) - 1)
        assert [note["pitch"] for note in expected] == [pitch for *_, pitch in rows]
        found = theatre.get("report", format="json").json()
        assert theatre.get("report").text.count("<svg") == 2
        theatre.process.send_signal(signal.SIGTERM)
        assert theatre.process.wait(20) == 0, theatre.complaints
    assert (found["wrong"], found["missed"], found["extra"]) == (1, 0, 0)
    assert json.loads((tmp_path / "report.json").read_text())["right"] == len(rows) - 1
