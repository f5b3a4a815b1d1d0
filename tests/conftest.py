"""What the tests share: the shipped model, the bundled recording and its truth, and what a machine must have."""

import csv
import itertools
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import mido
import numpy as np
import pytest

from rtmelody.core.network import Network, model_folder
from rtmelody.io.files import read_audio

ROOT = Path(__file__).parents[1]
DATA = ROOT / "rtmelody" / "data"


def needs(*programs):
    """Skip without these programs and files; but on CI, which installs them, fail."""
    missing = [program for program in programs if not (shutil.which(program) or Path(program).exists())]
    if missing and os.environ.get("CI"):
        raise RuntimeError(f"CI must have {missing}")
    return pytest.mark.skipif(bool(missing), reason=f"needs {missing}")


@pytest.fixture(scope="session")
def network():
    return Network(model_folder("melody"))


@pytest.fixture(scope="session")
def demo():
    """Samples and rate of the bundled recording."""
    return read_audio(DATA / "demo.ogg")


@pytest.fixture(scope="session")
def demo_truth():
    """Rows of onset s, offset s, MIDI number."""
    with (DATA / "demo.tsv").open(encoding="utf-8") as table:
        return np.array([[float(value) for value in row.values()] for row in csv.DictReader(table, delimiter="\t")])


def tone(frequency, seconds, rate, level=0.3):
    """A sine, faded in over 2 ms."""
    time = np.arange(round(seconds * rate)) / rate
    return (level * np.minimum(1, time / 0.002) * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def piano_like(frequency, seconds, rate, level=0.3):
    """A tone with eight falling harmonics and a decay."""
    time = np.arange(round(seconds * rate)) / rate
    waves = sum(np.sin(2 * np.pi * frequency * h * time) / h**1.5 for h in range(1, 9) if frequency * h < rate / 2.2)
    return (level * np.minimum(1, time / 0.002) * np.exp(-1.5 * time) * waves / 2).astype(np.float32)


def organ(frequency, seconds, rate, level=0.3):
    """A tone with eight falling harmonics that is held."""
    time = np.arange(round(seconds * rate)) / rate
    waves = sum(np.sin(2 * np.pi * frequency * h * time) / h for h in range(1, 9) if frequency * h < rate / 2.2)
    return (level * np.minimum(1, time / 0.005) * waves / 2).astype(np.float32)


SERVER = "rtmelody-test"  # one name: JACK remembers eight killed servers, and then refuses new ones
ENVIRONMENT = os.environ | {"JACK_DEFAULT_SERVER": SERVER, "JACK_NO_START_SERVER": "1"}


@contextmanager
def jackd(rate, *mode, period=128):
    """A dummy JACK server, and its process."""
    command = ["jackd", "-R", "--no-mlock", "-n", SERVER, "-p", "256", *mode]
    command += ["-d", "dummy", "-r", str(rate), "-p", str(period)]
    server = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        subprocess.run(["jack_wait", "-s", SERVER, "-w", "-t", "10"], env=ENVIRONMENT, check=True, capture_output=True)
        yield server
    finally:
        server.kill()  # SIGTERM can take it 24 s
        server.wait()


@pytest.fixture
def jack_server():
    """A server that waits for slow clients, so that no sample is lost under load; its rate."""
    with jackd(48_000, "-S", "-t", "2000"):
        yield 48_000


def wait_for(condition, seconds=30):
    """What the condition gives once that is something."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)
    return found


def ports():
    return subprocess.run(["jack_lsp"], env=ENVIRONMENT, capture_output=True, text=True, check=False).stdout.splitlines()


def counting(first):
    """Entropy that everybody knows."""
    numbers = itertools.count(first)
    return lambda count: bytes(next(numbers) % 256 for _ in range(count))


def write_midi(path, notes, numerator=4):
    """A score of (onset s, offset s, MIDI number), at 120 beats a minute."""
    file = mido.MidiFile()
    track = mido.MidiTrack([mido.MetaMessage("time_signature", numerator=numerator, denominator=4)])
    file.tracks.append(track)
    ticks = 0
    messages = [(on, "note_on", pitch) for on, _, pitch in notes] + [(off, "note_off", pitch) for _, off, pitch in notes]
    for at, kind, pitch in sorted(messages):  # of one moment, the end comes first
        track.append(mido.Message(kind, note=pitch, time=round(at * 960) - ticks))
        ticks = round(at * 960)
    file.save(path)
