"""The engine's parts: its board, its watch over the input, what it records. test_listen tests the whole on a real server."""

import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc

import mido
import msgspec
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from rtmelody.cli.stage import Controls
from rtmelody.config import Audio, Config
from rtmelody.core.ring import Ring
from rtmelody.engine.board import EVENTS, Board, Snapshot, shared_memory
from rtmelody.engine.deck import Deck
from rtmelody.engine.engine import Engine
from rtmelody.errors import AudioDeviceError, ConfigError
from rtmelody.events import NoteOff, NoteOn, Told, ToldOff, ToldOn, told
from rtmelody.io.audio import Microphone
from rtmelody.io.files import read_audio
from rtmelody.io.osc import OscPort
from rtmelody.io.sender import Sender
from rtmelody.io.session import EVENTS as LINES
from rtmelody.io.session import NOTES, SOUND, Fault, SessionRecorder, complete
from rtmelody.live import FALTERING_S, PATIENCE_S, SUSPENDED_S, Watch

SOUNDING, SILENCE, NOTHING = np.full(128, 0.1, np.float32), np.zeros(128, np.float32), np.zeros(0, np.float32)


@given(st.lists(st.integers(0, EVENTS + 200), max_size=8))
def test_every_event_is_read_once_or_counted_as_missed(bursts):
    """However seldom somebody looks."""
    memory = shared_memory()
    writer, reader = Board(memory), Board(memory)
    posted = following = missed = 0
    for burst in bursts:
        for number in range(posted, posted + burst):
            writer.post(number, ToldOff(at=float(number), midi=number % 128))
        posted += burst
        news = reader.events(following)
        assert [event.at for event in news.events] == list(range(following + news.missed, posted))
        following, missed = news.next, missed + news.missed
    assert following == posted


def test_a_board_shows_the_latest_state():
    memory = shared_memory()
    reader = Board(memory)
    assert reader.snapshot() is None
    for notes in range(3):
        Board(memory).show(Snapshot(notes=notes, sounding=60))
    assert reader.snapshot() == Snapshot(notes=2, sounding=60)


def write_for_ever(memory):
    board, number = Board(memory), 0
    while True:
        board.show(Snapshot(notes=number, seconds=float(number)))
        board.post(number, ToldOn(float(number), number % 128, 1, float(number), 0.5, 0.0))
        number += 1


def test_nothing_half_written_is_read():
    """Another process writes as fast as it can, and is killed over it."""
    memory = shared_memory()
    context = multiprocessing.get_context("spawn")
    writer, reader = context.Process(target=write_for_ever, args=(memory,), daemon=True), Board(memory)
    writer.start()
    while reader.snapshot() is None:
        pass
    following = 0
    for _ in range(2_000):
        if snapshot := reader.snapshot():
            assert snapshot.seconds == snapshot.notes
        news = reader.events(following)
        assert all(event.midi == event.at % 128 for event in news.events)
        following = news.next
    writer.kill()
    writer.join()
    reader.snapshot()
    reader.events(following)


def test_events_are_told_in_seconds_of_the_session():
    assert told(NoteOff(48_000, 60), 48_000, 2.0) == ToldOff(3.0, 60)
    assert told(NoteOn(48_000, 60, 90, 24_000, 0.51234, 1.26), 48_000, 2.0) == ToldOn(3.0, 60, 90, 2.5, 0.512, 1.3)


MUTE_S = 1.0


@pytest.mark.parametrize(
    ("history", "fault"),
    [
        ([(0.0, NOTHING), (PATIENCE_S - 0.1, NOTHING)], None),
        ([(0.0, NOTHING), (0.5, NOTHING), (PATIENCE_S + 0.1, NOTHING)], "nothing"),
        ([(0.0, SOUNDING), (0.5, NOTHING), (FALTERING_S + 0.1, NOTHING)], "nothing"),
        ([(0.0, SOUNDING), (0.5, NOTHING), (FALTERING_S - 0.1, SOUNDING)], None),
        ([(0.0, SOUNDING), (0.6, SILENCE), (MUTE_S + 0.1, SILENCE)], "zeros"),
        ([(0.0, SILENCE), (0.6, SILENCE), (MUTE_S + 0.1, SILENCE)], None),
        ([(0.0, SOUNDING), (SUSPENDED_S + 0.1, SOUNDING)], "suspended"),
    ],
)
def test_a_source_that_falters_is_noticed(history, fault):
    watch = Watch(0.0, MUTE_S)
    for now, samples in history[:-1]:
        watch.observe(samples, now)
    now, samples = history[-1]
    if fault:
        with pytest.raises(AudioDeviceError, match=fault):
            watch.observe(samples, now)
    else:
        watch.observe(samples, now)


def test_zeros_are_no_fault_where_they_are_expected():
    """Between the tones of `latency`, and in the pauses that `check` asks for."""
    watch = Watch(0.0, math.inf)
    for now in np.arange(0.0, 5.0, 0.1):
        watch.observe(SILENCE if now > 0.2 else SOUNDING, now)


def test_the_callback_neither_allocates_nor_waits():
    """Ten thousand blocks leave nothing behind, and none needs more than a few views of the ring."""

    class Status:
        input_overflow = False

    microphone = Microphone.__new__(Microphone)
    microphone._column, microphone.xruns, microphone.ring = 0, 0, Ring(1_000)
    block = np.zeros((128, 2), np.float32)
    microphone._on_block(block, 128, None, Status)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    for _ in range(10_000):
        microphone._on_block(block, 128, None, Status)
        microphone.ring._read = microphone.ring._written
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 200
    assert peak - before < 1_000
    assert not {"Lock", "acquire", "log", "print", "sleep"} & set(
        Microphone._on_block.__code__.co_names + Ring.write.__code__.co_names
    )


def test_a_device_that_does_not_exist_is_said_by_the_engine_too():
    with Engine(Config(audio=Audio(device="nobody")), midi=False) as engine, pytest.raises(AudioDeviceError):  # noqa: PT012
        while True:
            engine.tend()


STUBBORN = """
import sys, threading, time
from multiprocessing import Pipe
from rtmelody.config import Config
from rtmelody.core.ring import Ring
from rtmelody.engine import performance
from rtmelody.engine.board import Snapshot, shared_memory
from rtmelody.errors import AudioDeviceError

class Stubborn:
    sample_rate, ring, xruns, finished = 48_000.0, Ring(48_000), 0, False
    timer = threading.Timer(1.8, lambda: here.send(None))
    def start(self):
        if not self.timer.ident:
            self.timer.start()
        raise AudioDeviceError("It opens, and does not start.")
    def stop(self):
        return True

performance.Performance._source = lambda self: Stubborn()
here, there = Pipe()
before = Snapshot() if sys.argv[1] == "later" else None
performance.serve(Config(), performance.Plan(midi=False, began=time.monotonic()), shared_memory(), there, None, before)
while here.poll():
    print(type(here.recv()).__name__)
"""


@pytest.mark.parametrize(("when", "told"), [("first", ["AudioDeviceError"]), ("later", ["str"])])
def test_a_device_that_opens_but_does_not_start_is_not_tried_without_a_pause(when, told):
    """As the session's first it ends it; later it is tried again twice a second, which is told once."""
    said = subprocess.run([sys.executable, "-c", STUBBORN, when], capture_output=True, text=True, check=True, timeout=60)
    assert set(said.stdout.split()) == set(told)
    assert len(said.stdout.split()) <= len(told)


EVENTS_PLAYED: list[Told | Fault] = [
    ToldOn(2.1, 60, 90, 2.05, 0.9, 1.0),
    ToldOff(2.4, 60),
    Fault(2.5, "gone"),
    ToldOn(3.1, 62, 90, 3.05, 0.9, 1.0),
    ToldOff(3.2, 62),
]


def test_a_session_is_recorded_with_the_silence_of_its_faults(tmp_path):
    recorder = SessionRecorder(tmp_path, 8_000, 2.0)
    recorder.put(2.0)
    recorder.put(np.full(4_000, 0.25, np.float32))
    recorder.put(3.0)
    recorder.put(np.full(4_000, 0.5, np.float32))
    for event in EVENTS_PLAYED:
        recorder.put(event)
    recorder.close()
    (folder,) = tmp_path.iterdir()
    samples, rate = read_audio(folder / SOUND)
    assert rate == 8_000
    assert samples[::1_000].tolist() == [0.25] * 4 + [0.0] * 4 + [0.5] * 4
    lines = [msgspec.json.decode(line) for line in (folder / LINES).read_bytes().splitlines()]
    assert [line["event"] for line in lines] == ["on", "off", "fault", "on", "off"]
    assert lines[0]["onset"] == pytest.approx(0.05)
    played = [message for message in mido.MidiFile(folder / NOTES) if not message.is_meta]
    assert [message.note for message in played] == [60, 60, 62, 62]
    assert sum(message.time for message in played) == pytest.approx(1.2, abs=0.01)
    assert recorder.lost == 0


def test_what_the_disk_does_not_take_is_silence(tmp_path, monkeypatch):
    """So that what comes later stays beside its events."""
    monkeypatch.setattr("rtmelody.io.session.WAITING", 4)
    recorder = SessionRecorder(tmp_path, 8_000)
    disk = threading.Lock()
    write, recorder._write_sound = recorder._write_sound, lambda samples: disk.acquire() and [write(samples), disk.release()]
    with disk:  # it takes its time
        for _ in range(20):
            recorder.put(np.full(1_000, 0.25, np.float32))
    while not recorder._waiting.empty():
        time.sleep(0.01)
    recorder.put(np.full(1_000, 0.5, np.float32))
    recorder.close()
    samples, _ = read_audio(next(tmp_path.glob(f"*/{SOUND}")))
    heard = samples[::1_000].tolist()
    assert recorder.lost == heard.count(0.0) >= 15
    assert heard.index(0.5) == 20
    assert len(samples) == 21_000


def test_a_recorded_note_ends_where_the_next_begins(tmp_path):
    """Its end is told when the next one is named, and that is after the next one's onset."""
    recorder = SessionRecorder(tmp_path, 8_000)
    for event in (
        ToldOn(0.13, 60, 90, 0.1, 0.9, 0.0), ToldOff(0.33, 60), ToldOn(0.33, 60, 90, 0.3, 0.9, 0.0), ToldOff(0.58, 60),
    ):  # fmt: skip
        recorder.put(event)
    recorder.close()
    (notes,) = tmp_path.glob(f"*/{NOTES}")
    played, now = [], 0.0
    for message in mido.MidiFile(notes):
        now += message.time
        if message.type in ("note_on", "note_off"):
            played.append((message.type == "note_on" and message.velocity > 0, round(now, 2)))
    assert played == [(True, 0.1), (False, 0.3), (True, 0.3), (False, 0.58)]


class Listener:
    """A port that keeps what it is sent, and when."""

    def __init__(self):
        self.heard = []

    def send(self, event):
        self.heard.append((time.monotonic(), event))

    def panic(self):
        self.heard.append((time.monotonic(), "panic"))

    def close(self):
        pass


def test_what_is_due_is_not_held_back_by_what_is_due_later():
    """A legato note's end is due when it ended, and before it the next one, which began earlier than it was named."""
    port = Listener()
    sender, now = Sender([port], 1.0), time.monotonic()
    first, end, second = NoteOn(0, 60, 90, 0, 1.0, 0.0), NoteOff(9, 60), NoteOn(9, 62, 90, 5, 1.0, 0.0)
    sender.send(first, now + 0.1)
    sender.send(end, now + 5.0)
    sender.panic()
    sender.send(second, now + 0.3)
    assert sender.flush()
    assert [event for _, event in port.heard] == [first, end, "panic", second]
    times = [at - now for at, _ in port.heard]
    assert times[0] >= 0.1
    assert times[1] >= 0.3
    assert times[3] < 5.0
    assert sender.close()


@pytest.mark.parametrize(
    ("address", "resolved"),
    [
        ("127.0.0.1:9000", ("127.0.0.1", 9000)),
        ("localhost:9000", ("127.0.0.1", 9000)),
        (":9000", ("127.0.0.1", 9000)),
        ("[::1]:9000", ("::1", 9000)),
        ("::1:9000", ("::1", 9000)),
    ],
)
def test_an_address_for_osc_is_looked_up_once(address, resolved):
    """Not for every note, and a name that both families know is that of IPv4."""
    port = OscPort(address)
    assert (port._client._address, port._client._port) == resolved
    port.close()


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "127.0.0.1:0", "127.0.0.1:-1", "127.0.0.1", "127.0.0.1:http"])
def test_what_is_no_address_for_osc_is_refused(address):
    with pytest.raises(ConfigError, match="no address for OSC"):
        OscPort(address)


def test_a_recording_that_begins_within_a_note_has_it_all(tmp_path):
    """Its onset lies before the recording; and what cannot be read of another session spoils nothing."""
    (tmp_path / "spoilt").mkdir()
    (tmp_path / "spoilt" / LINES).write_text(
        '{"event":"on","at":0.1,"midi":60,"velocity":9,"onset":-5,"confidence":1,"cents":0}\n' * 2
    )
    recorder = SessionRecorder(tmp_path, 8_000, 2.0)
    recorder.put(2.0)
    recorder.put(ToldOn(2.02, 60, 90, 1.97, 0.9, 1.0))
    recorder.put(ToldOff(2.4, 60))
    recorder.close()
    (notes,) = tmp_path.glob(f"*/{NOTES}")
    played = [message for message in mido.MidiFile(notes) if not message.is_meta]
    assert [message.type for message in played] == ["note_on", "note_off"]
    assert sum(message.time for message in played) == pytest.approx(0.4, abs=0.01)


def test_a_recording_that_ends_within_a_note_has_it(tmp_path):
    recorder = SessionRecorder(tmp_path, 8_000, 2.0)
    recorder.put(2.0)
    recorder.put(ToldOn(2.1, 60, 90, 2.1, 0.9, 1.0))
    recorder.put(np.zeros(4_000, np.float32))
    recorder.close()
    (notes,) = tmp_path.glob(f"*/{NOTES}")
    played = [message for message in mido.MidiFile(notes) if not message.is_meta]
    assert [message.type for message in played] == ["note_on", "note_off"]
    assert sum(message.time for message in played) == pytest.approx(0.5, abs=0.01)
    told = (notes.parent / LINES).read_text().splitlines()
    assert [msgspec.json.decode(line)["event"] for line in told] == ["on", "off"]


KILLED = """
import os, sys, time
from pathlib import Path
import numpy as np
from rtmelody.events import ToldOff, ToldOn
from rtmelody.io.session import SessionRecorder
recorder = SessionRecorder(Path(sys.argv[1]), 48_000)
for tenth in range(40):
    recorder.put(np.random.default_rng(tenth).normal(0, 0.1, 4_800).astype(np.float32))
    recorder.put(ToldOn(tenth / 10, 60, 90, tenth / 10, 0.9, 0.0))
    recorder.put(ToldOff(tenth / 10 + 0.05, 60))
    time.sleep(0.1)
os.kill(os.getpid(), 9)
"""


def test_two_sessions_of_one_moment_have_folders_of_their_own(tmp_path):
    recorders = [SessionRecorder(tmp_path, 8_000) for _ in range(3)]
    for pitch, recorder in enumerate(recorders):
        recorder.put(ToldOn(0.1, pitch, 90, 0.1, 0.9, 0.0))
        recorder.put(ToldOff(0.2, pitch))
        recorder.close()
    assert len(list(tmp_path.glob(f"*/{NOTES}"))) == 3
    noted = {
        message.note for file in tmp_path.glob(f"*/{NOTES}") for message in mido.MidiFile(file) if message.type == "note_on"
    }
    assert noted == {0, 1, 2}


FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from rtmelody.events import ToldOff, ToldOn
from rtmelody.io.session import SessionRecorder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
recorder = SessionRecorder(Path(sys.argv[1]), 48_000)
for second in range(10):
    recorder.put(np.random.default_rng(second).normal(0, 0.1, 48_000).astype(np.float32))
    recorder.put(ToldOn(float(second), 60, 90, float(second), 0.9, 0.0))
    recorder.put(ToldOff(second + 0.5, 60))
recorder.close()
print(recorder.lost)
"""


def test_a_disk_without_room_for_the_sound_costs_no_note(tmp_path):
    full = subprocess.run([sys.executable, "-c", FULL, tmp_path], env=os.environ, capture_output=True, text=True, check=True)
    assert int(full.stdout) > 0
    assert not full.stderr
    (folder,) = tmp_path.iterdir()
    assert sum(message.type == "note_on" for message in mido.MidiFile(folder / NOTES)) == 10


def test_a_session_that_went_on_gets_its_later_notes_too(tmp_path):
    recorder = SessionRecorder(tmp_path, 8_000)
    recorder.put(ToldOn(0.1, 60, 90, 0.1, 0.9, 0.0))
    recorder.put(ToldOff(0.2, 60))
    recorder.close()
    (folder,) = tmp_path.iterdir()
    (folder / NOTES).write_bytes(b"")
    os.utime(folder / NOTES, (0, 0))  # as another session left them meanwhile
    complete(tmp_path)
    assert sum(message.type == "note_on" for message in mido.MidiFile(folder / NOTES)) == 1


@pytest.mark.parametrize(
    ("typed", "transposed"),
    [("\x1b[A", [1]), ("\x1b[B\x1b[B", [-1, -2]), (">", [12]), ("\x1b[D\x1b[3~x", []), ("\x1bOP<", [-12])],
)
def test_keys_are_whole_sequences(typed, transposed):
    """An arrow to the left is no `[`."""
    told = []

    class Commanded:
        panic = mute = None
        transpose = told.append

        def threshold(self, probability):
            raise AssertionError(probability)

    Controls(Commanded(), Config(), threading.Event()).press(typed)
    assert told == transposed


def test_a_crash_costs_a_second(tmp_path):
    """Killed after four seconds: the sound can be read, and the next session completes the notes."""
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path], env=os.environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    (folder,) = tmp_path.iterdir()
    samples, _ = read_audio(folder / SOUND)
    assert len(samples) >= 2.5 * 48_000
    assert not (folder / NOTES).exists()
    complete(tmp_path)
    played = [message for message in mido.MidiFile(folder / NOTES) if message.type == "note_on"]
    assert len(played) >= 28
    assert soundfile.info(folder / SOUND).samplerate == 48_000


def test_no_recording_begins_while_there_is_no_input(tmp_path):
    """The next one may have another rate."""
    deck = Deck(None, 0, lambda: 1.0)
    deck.open_input(8_000.0, 0.0)
    deck.close_input()
    deck.switch(tmp_path)
    assert not deck.running
    deck.open_input(16_000.0, 2.0)
    assert deck.running
    deck.put(np.zeros(1_600, np.float32))
    deck.close()
    assert [soundfile.info(path).samplerate for path in tmp_path.rglob("*.flac")] == [16_000]
