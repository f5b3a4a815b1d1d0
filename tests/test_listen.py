"""`rtmelody listen` on a real JACK server: a microphone that plays a recording, and a MIDI receiver that nobody here wrote."""

import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from contextlib import ExitStack

import msgspec
import numpy as np
import psutil
import pytest
from conftest import ENVIRONMENT, jackd, needs, organ, ports, wait_for
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import BlockingOSCUDPServer
from scipy.signal import resample_poly
from stage import Stage, dumped, port_of, received

from rtmelody import NoteOff, NoteOn, Recognizer
from rtmelody.config import Midi
from rtmelody.errors import MidiError
from rtmelody.events import ToldAll, ToldOn, ToldProvisional, told
from rtmelody.io.midi import MidiPort, midi_ports
from rtmelody.io.sender import Sender

pytestmark = needs("jackd", "jack_midi_dump", "jack_wait", "jack_lsp", "jack_connect", "stdbuf")

SOUNDFONT = "/usr/share/sounds/sf2/TimGM6mb.sf2"
SECONDS = 1.95  # of the demonstration: notes that are the same wherever the stream is cut into hops
TIMES = 3  # that they are played


@pytest.mark.parametrize("rate", [48_000, 44_100])
@pytest.mark.parametrize("period", [64, 128, 256])
def test_notes_reach_a_midi_receiver(rate, period, demo, network, tmp_path):
    """What arrives are the notes of `transcribe`, each on followed by its off, also by SIGTERM in the last."""
    tune = resample_poly(np.tile(demo[0][: round(SECONDS * demo[1])], TIMES), rate, demo[1])
    held = organ(880.0, 20.0, rate)
    samples = np.concatenate((tune, held)).astype(np.float32)
    events = Recognizer(rate, None, network).push(np.concatenate((np.zeros(rate, np.float32), samples[: len(tune) + rate])))
    expected = [event.pitch for event in events if isinstance(event, NoteOn)]
    assert expected[-1] == 81
    with jackd(rate, "-S", "-t", "2000", period=period), Stage(tmp_path) as stage:
        play, listener, messages = stage.microphone(samples), stage.listener(), stage.monitor()
        play()
        wait_for(lambda: ("on", 81) in messages(), TIMES * SECONDS + 30)
        time.sleep(0.3)
        assert messages()[-1] == ("on", 81)
        listener.send_signal(signal.SIGTERM)
        assert listener.wait(20) == 0, stage.output
        assert re.search(r" 0 overflows, \d+ xruns, 0 faults", stage.output)  # a busy machine makes the server late: no loss
        wait_for(lambda: messages()[-1] == ("off", 81))
        heard = messages()
    assert heard[::2] == [("on", pitch) for pitch in expected]
    assert heard[1::2] == [("off", pitch) for pitch in expected]


@needs("fluidsynth", SOUNDFONT)
def test_a_synthesizer_plays_along(jack_server, demo, network, tmp_path):
    """FluidSynth prints what it receives: the notes, whose pitches are those of `transcribe`; and then it sounds."""
    tune = resample_poly(np.tile(demo[0][: round(SECONDS * demo[1])], TIMES), jack_server, demo[1]).astype(np.float32)
    tune = np.concatenate((tune, np.zeros(jack_server, np.float32)))
    events = Recognizer(jack_server, None, network).push(np.concatenate((np.zeros(jack_server, np.float32), tune)))
    expected = [event.pitch for event in events if isinstance(event, NoteOn)]
    printed = tmp_path / "fluidsynth.txt"
    with Stage(tmp_path) as stage, printed.open("w") as file:
        play = stage.microphone(tune)
        stage.listener()
        command = ["fluidsynth", "-i", "-s", "-d", "-m", "jack", "-a", "jack", "-o", "midi.jack.id=fs", SOUNDFONT]
        stage.start("stdbuf", "-oL", *command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        source, sink = wait_for(lambda: port_of("rtmelody")), wait_for(lambda: port_of("fs:midi"))
        subprocess.run(["jack_connect", source, sink], env=ENVIRONMENT, check=True, capture_output=True)
        play()
        wait_for(lambda: [int(pitch) for pitch in re.findall(r"event_post_noteon \d+ (\d+)", printed.read_text())] == expected)


def join(monkeypatch):
    """Let the server be this process's own too."""
    for name in ("JACK_DEFAULT_SERVER", "JACK_NO_START_SERVER"):
        monkeypatch.setenv(name, ENVIRONMENT[name])


@pytest.mark.usefixtures("jack_server")
def test_an_existing_port_and_a_virtual_one_get_the_same_notes_when_they_are_due(tmp_path, monkeypatch):
    join(monkeypatch)
    dump = tmp_path / "dump.txt"
    with ExitStack() as stack:
        command, file = ["stdbuf", "-oL", "jack_midi_dump", "-a"], stack.enter_context(dump.open("w"))
        stack.callback(stack.enter_context(subprocess.Popen(command, env=ENVIRONMENT, stdout=file)).kill)
        wait_for(lambda: any("midi-monitor" in name for name in ports()))
        sender = Sender(midi_ports(Midi(also_to=("MIDI-Monitor",))))
        sink = next(name for name in ports() if "midi-monitor" in name)
        subprocess.run(["jack_connect", "rtmelody:out", sink], env=ENVIRONMENT, check=True, capture_output=True)
        due = time.monotonic() + 0.5
        for event in (NoteOn(0, 60, 100, 0, 1.0, 0.0), NoteOff(0, 60)):
            sender.send(event, due)
        assert received(dump) == []
        wait_for(lambda: len(received(dump)) == 4)
        assert time.monotonic() >= due
        assert sorted(received(dump)) == [("off", 60)] * 2 + [("on", 60)] * 2
        assert not sender.stalled
        assert sender.close()


@pytest.mark.usefixtures("jack_server")
def test_a_port_that_does_not_exist_is_said_in_a_sentence(monkeypatch):
    join(monkeypatch)
    with pytest.raises(MidiError, match="no MIDI port with 'nobody'"):
        MidiPort(Midi(), "nobody")


def ranges(messages):
    """Every value given to a registered parameter."""
    return [second for status, number, second in messages if status & 0xF0 == 0xB0 and number == 6]


def bent(messages, reach):
    """(channel, cents or on) of every bend and note-on."""
    found = []
    for status, first, second in messages:
        if status & 0xF0 == 0xE0:
            found.append((status & 0x0F, round(((second << 7) + first - 8192) / 8192 * 100 * reach)))
        elif status & 0xF0 == 0x90:
            found.append((status & 0x0F, "on"))
    return found


@pytest.mark.parametrize(
    ("bend", "channels", "announced"), [("pitch", [0, 0], [2]), ("mpe", [1, 2], [15, 2, 48])], ids=["pitch", "mpe"]
)
def test_what_is_played_a_little_sharp_is_bent_before_it_sounds(bend, channels, announced, jack_server, tmp_path):
    """Two notes, 30 cents sharp, on one channel or on one each; how far a bend reaches is announced."""
    rate, sharp = jack_server, 2 ** (30 / 1200)
    tune = np.concatenate([organ(frequency * sharp, 0.5, rate) for frequency in (440.0, 523.25)] + [np.zeros(rate // 2)])
    with Stage(tmp_path) as stage:
        play, listener = stage.microphone(tune.astype(np.float32)), stage.listener("--bend", bend)
        everything = stage.monitor(dumped)
        play()
        wait_for(lambda: [status & 0xF0 for status, *_ in everything()].count(0x80) == 2)
        listener.send_signal(signal.SIGTERM)
        assert listener.wait(20) == 0, stage.output
        wait_for(lambda: ranges(everything()) == announced)
        notes = [message for message in bent(everything(), announced[-1]) if message[1] != 0]
    ons = [place for place, (_, what) in enumerate(notes) if what == "on"]
    assert [notes[place][0] for place in ons] == channels
    for place in ons:
        assert notes[place - 1] == (notes[place][0], pytest.approx(30, abs=8))


def test_samples_from_a_pipe_are_heard_to_the_last_one(demo, network):
    """Faster than any microphone, and nothing is lost: the notes are those of `transcribe`."""
    samples, rate = demo
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "rtmelody", "listen", "--device", "-", "--rate", str(rate), "--no-midi", "--json"]
    command += ["--pcm", "f32le", "--provisional"]
    listened = subprocess.run(command, input=samples.tobytes(), stdout=pipe, stderr=pipe, check=True)
    recognizer = Recognizer(rate, None, network)
    expected = [told(event, rate) for event in recognizer.push(samples) + recognizer.flush()]
    heard = [msgspec.json.decode(line, type=ToldAll) for line in listened.stdout.splitlines()]
    assert [event.at for event in heard] == sorted(event.at for event in heard)
    assert [event for event in heard if not isinstance(event, ToldProvisional)] == expected
    confirmed = [(event.at, event.midi) for event in heard if isinstance(event, ToldProvisional) and event.fate == "confirmed"]
    assert confirmed == [(event.at, event.midi) for event in expected if isinstance(event, ToldOn)]


def test_what_cannot_be_read_ends_listening():
    """An input that gives an error, and a terminal, whose keys would be samples."""
    command = [sys.executable, "-m", "rtmelody", "listen", "--device", "-", "--no-midi", "-q"]
    terminal, theirs = pty.openpty()
    broken = os.open("/proc/self/mem", os.O_RDONLY)  # nothing can be read at its beginning
    for stdin, word in ((broken, "cannot be read"), (theirs, "is a terminal")):
        listened = subprocess.run(command, stdin=stdin, capture_output=True, check=False, timeout=60)
        assert listened.returncode == 6
        assert word in listened.stderr.decode()
        assert "Traceback" not in listened.stderr.decode()
    for descriptor in (terminal, theirs, broken):
        os.close(descriptor)


def test_osc_messages_arrive_too(jack_server, tmp_path):
    received = []
    dispatcher = Dispatcher()
    dispatcher.map("/rtmelody/*", lambda address, *values: received.append((address, *values)))
    with BlockingOSCUDPServer(("127.0.0.1", 0), dispatcher) as server, Stage(tmp_path) as stage:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        play = stage.microphone(np.concatenate((organ(440.0, 1.0, jack_server), np.zeros(jack_server, np.float32))))
        stage.listener("--osc", f"127.0.0.1:{server.server_address[1]}", "--transpose", "12")
        wait_for(lambda: port_of("PortAudio"))
        play()
        wait_for(lambda: len(received) == 3)
        server.shutdown()
    panic, (on, pitch, velocity, confidence, cents), off = received
    assert panic == ("/rtmelody/panic",)  # of a process before, that may have died within a note
    assert (on, pitch) == ("/rtmelody/on", 81)
    assert velocity > 0
    assert confidence > 0.5
    assert abs(cents) < 10
    assert off == ("/rtmelody/off", 81)


def test_the_view_on_a_terminal_and_its_keys(jack_server, tmp_path):
    """A note, one an octave higher by key, one that is muted; and out by key."""
    rate = jack_server
    terminal, theirs = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    tune = np.concatenate([organ(frequency, 2.0, rate) for frequency in (440.0, 523.25, 440.0)])
    with Stage(tmp_path) as stage:
        play = stage.microphone(tune)
        command = [sys.executable, "-m", "rtmelody", "listen", "--device", "fakemic"]
        listener = stage.start(*command, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL)
        drawn = Drawn(terminal)
        messages = stage.monitor()
        play()
        wait_for(lambda: messages() == [("on", 69)])
        wait_for(lambda: "A4" in drawn.text and "p panic" in drawn.text)
        os.write(terminal, b">")
        wait_for(lambda: messages()[-1] == ("on", 84))
        assert "transposed +12" in drawn.text
        os.write(terminal, b"m")
        wait_for(lambda: "MUTED" in drawn.text)
        wait_for(lambda: "notes    3" in drawn.text)
        os.write(terminal, b"s")
        wait_for(lambda: "careful" in drawn.text)
        os.write(terminal, b"q")
        assert listener.wait(20) == 0
        assert messages() == [("on", 69), ("off", 69), ("on", 84), ("off", 84)]
        wait_for(lambda: "3 notes" in drawn.text)


class Drawn:
    """What was written to a terminal, without colours."""

    def __init__(self, terminal):
        self.text = ""
        threading.Thread(target=self._read, args=(terminal,), daemon=True).start()

    def _read(self, terminal):
        while data := os.read(terminal, 4096):
            self.text += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", data.decode(errors="ignore"))


def held(pitch, rate):
    """A minute of a note."""
    return organ(440.0 * 2 ** ((pitch - 69) / 12), 60.0, rate)


def engine_of(listener):
    """The process that listens."""
    children = psutil.Process(listener.pid).children()
    return next(child for child in children if any("spawn_main" in argument for argument in child.cmdline()))


def test_a_killed_server_is_outlived(tmp_path):
    """PortAudio says nothing and hangs in closing; a new server, of another rate and block size, is found without a hand."""
    with Stage(tmp_path) as stage:
        with jackd(48_000) as server, Stage(tmp_path) as first:
            play, listener, messages = first.microphone(held(69, 48_000)), stage.listener(), first.monitor()
            play()
            wait_for(lambda: ("on", 69) in messages())
            server.kill()
            wait_for(lambda: "audio input" in stage.output)
        with jackd(44_100, period=256), Stage(tmp_path) as second:  # a client of the dead server would hinder its namesake here
            play, messages = second.microphone(held(72, 44_100)), second.monitor()
            play()
            wait_for(lambda: ("on", 72) in messages())
            listener.send_signal(signal.SIGTERM)
            assert listener.wait(20) == 0, stage.output
            wait_for(lambda: messages()[-1] == ("off", 72))
    assert "Traceback" not in stage.output
    assert " 1 faults" in stage.output


def test_a_source_that_comes_back_is_connected_again(tmp_path):
    """On asynchronous JACK a dead source is nothing but zeros: the note ends, and the next source is found."""
    with jackd(48_000), Stage(tmp_path) as stage:
        play, listener, messages = stage.microphone(held(69, 48_000)), stage.listener(), stage.monitor()
        play()
        wait_for(lambda: ("on", 69) in messages())
        stage.stop_microphone()
        wait_for(lambda: "zeros" in stage.output)
        assert messages() == [("on", 69), ("off", 69)]
        stage.microphone(held(72, 48_000))()
        wait_for(lambda: messages()[-1] == ("on", 72))
        listener.send_signal(signal.SIGTERM)
        assert listener.wait(20) == 0, stage.output
        wait_for(lambda: messages()[-1] == ("off", 72))


def test_a_suspended_listener_goes_on_from_now(tmp_path):
    """What was played meanwhile is of the past: its note ends, and no backlog is worked off. JACK has cut it off by then."""
    with jackd(48_000), Stage(tmp_path) as stage:
        tune = np.concatenate([organ(440.0, 1.0, 48_000), organ(523.25, 2.0, 48_000), held(76, 48_000)])
        play, listener, messages = stage.microphone(tune), stage.listener("--json"), stage.monitor()
        play()
        wait_for(lambda: ("on", 69) in messages())
        engine = engine_of(listener)
        engine.suspend()
        time.sleep(4)
        engine.resume()
        wait_for(lambda: '"midi":76' in stage.output)
        assert "suspended" in stage.output
        assert '"midi":72' not in stage.output
        listener.send_signal(signal.SIGTERM)
        assert listener.wait(20) == 0, stage.output


def test_a_killed_engine_is_replaced(tmp_path):
    with jackd(48_000), Stage(tmp_path) as stage:
        play, listener = stage.microphone(held(69, 48_000)), stage.listener()
        wait_for(lambda: port_of("PortAudio"))
        engine_of(listener).kill()
        wait_for(lambda: "starting anew" in stage.output)
        wait_for(lambda: not port_of("PortAudio"))
        wait_for(lambda: port_of("PortAudio"))
        messages = stage.monitor()
        play()
        wait_for(lambda: messages() == [("on", 69)])


def test_without_a_midi_backend(monkeypatch):
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    with pytest.raises(MidiError, match="start JACK"):
        MidiPort(Midi())
