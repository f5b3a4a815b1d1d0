"""What `rtmelody check` says of an input, of synthetic ones and through a real server."""

import json
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from conftest import jackd, needs, organ, wait_for
from stage import Stage, port_of

from rtmelody.config import load_config
from rtmelody.core.checkup import examine, settled
from rtmelody.events import Note

RATE = 48_000


def hiss(level_db, seconds=4.0, seed=1):
    return np.random.default_rng(seed).normal(0, 10 ** (level_db / 20), round(seconds * RATE)).astype(np.float32)


def sine(frequency, level_db, seconds=4.0):
    return (10 ** (level_db / 20) * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def notes(cents):
    return [Note(3.0, 3.1, 60, 90, 1.0, deviation, 3.05) for deviation in cents]


def looked_at(samples, played=(), levels=()):
    return examine(samples, RATE, played, levels, 440.0)


def test_levels():
    quiet_then_loud = np.concatenate((hiss(-60, 2.0), sine(440, -6, 2.0)))
    levels = [(at, -20.0 if 2.9 < at < 3.4 else -70.0) for at in np.arange(0.0, 4.0, 0.01)]  # with an attack and an end
    found = looked_at(quiet_then_loud, notes([0.0] * 5), levels)
    assert found.peak_db == pytest.approx(-6, abs=0.1)
    assert found.floor_db == pytest.approx(-60, abs=1)
    assert found.gate_db == pytest.approx(-64)
    assert looked_at(quiet_then_loud).gate_db is None  # no pause was heard, and nothing is said about it
    assert looked_at(0 * quiet_then_loud, levels=levels).gate_db is None
    assert found.advice() == []


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.zeros(RATE, np.float32), "muted"),
        (np.clip(sine(440, 6), -1, 1), "clipped"),
        (hiss(-60), "turn the input up"),
        (hiss(-30), "noise floor"),
        (hiss(-60) + sum(sine(50 * harmonic, -40) for harmonic in range(1, 5)), "hum at 50 Hz"),
        (hiss(-60) + sum(sine(60 * harmonic, -40) for harmonic in range(1, 5)), "hum at 60 Hz"),
        (hiss(-60), "No note"),
    ],
)
def test_what_is_wrong_is_said(samples, said):
    assert any(said in sentence for sentence in looked_at(samples.astype(np.float32)).advice())


@pytest.mark.parametrize("samples", [hiss(-50), hiss(-60) + sine(196, -12), np.float32(0.3) * organ(98.0, 4.0, RATE)])
def test_music_and_hiss_are_no_hum(samples):
    assert looked_at(samples).hum_hz is None


def test_tuning():
    found = looked_at(sine(440, -6), notes([19, 20, 21, 20, -60]))
    assert found.cents == 20
    assert found.a4_hz == pytest.approx(445.1, abs=0.05)
    assert looked_at(sine(440, -6), notes([20, 20, 20])).a4_hz is None


@pytest.mark.parametrize("late", range(0, 480, 96))
def test_tuning_is_that_of_settled_notes(late):
    """However the hops lie: at a note's first sign the resonators may have heard a fraction of one."""
    tune = np.concatenate([np.zeros(RATE // 2 + late), *(organ(hz * 2 ** (25 / 1200), 0.5, RATE) for hz in (440.0, 523.25))])
    samples, before = tune.astype(np.float32), 0.5 + late / RATE
    played = [Note(before + k / 2, before + k / 2 + 0.5, pitch, 90, 1.0, -60.0, 0.0) for k, pitch in enumerate((69, 72))]
    assert [note.cents for note in settled(samples, RATE, played, 440.0)] == pytest.approx([25, 25], abs=2)
    brief = [replace(note, offset=note.onset + 0.05) for note in played]
    assert [note.cents for note in settled(samples, RATE, brief, 440.0)] == [-60, -60]


@needs("jackd", "jack_wait", "jack_lsp")
def test_through_a_real_input(jack_server, tmp_path):
    """Detuned notes with pauses, and the settings that follow."""
    pitches = 440.0 * 2 ** (np.array([0, 2, 4, 5, 7, 9]) / 12) * 2 ** (25 / 1200)
    tune = np.concatenate([np.concatenate((organ(hz, 0.5, jack_server), np.zeros(jack_server // 4))) for hz in pitches])
    written = tmp_path / "my.yaml"
    written.write_text("tuning:\n  follow: true\n")
    command = [sys.executable, "-m", "rtmelody", "check", "--device", "fakemic", "--seconds", "6", "--json"]
    command += ["--config", written, "--write", written]
    with Stage(tmp_path) as stage:
        play = stage.microphone(np.pad(tune, (0, 10 * jack_server)) + hiss(-80, len(tune) / RATE + 10))
        checking = stage.start(*command, stdout=subprocess.PIPE, text=True)
        wait_for(lambda: port_of("PortAudio"))
        play()
        found = json.loads(checking.communicate(timeout=60)[0])
        assert checking.returncode == 0
    assert found["notes"] >= len(pitches)
    assert -90 < found["gate_db"] < -60  # a few dB above the hiss in one resonator
    assert found["cents"] == pytest.approx(25, abs=6)
    assert any("a4_hz" in sentence for sentence in found["advice"])
    assert load_config(written).tuning.a4_hz == pytest.approx(446.4, abs=1.6)
    assert load_config(written).tuning.follow  # as it was


@needs("jackd", "jack_wait", "jack_lsp")
def test_a_server_that_dies_keeps_nobody(tmp_path):
    """PortAudio hangs in closing then; the exit must not."""
    command = [sys.executable, "-m", "rtmelody", "check", "--device", "fakemic", "--seconds", "60"]
    with jackd(48_000) as server, Stage(tmp_path) as stage:
        play = stage.microphone(hiss(-40, 30.0))
        checking = stage.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: port_of("PortAudio"))
        play()
        time.sleep(2.0)
        server.kill()
        found, complaint = checking.communicate(timeout=30)
    assert "Traceback" not in complaint
    assert "noise floor" in found  # what was heard until then
    assert checking.returncode == 0
