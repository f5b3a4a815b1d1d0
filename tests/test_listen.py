"""`rtmelody listen` on a real JACK server: a microphone that plays a recording, and a MIDI receiver that nobody here wrote."""

import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
from conftest import ENVIRONMENT, needs, organ, ports, wait_for
from scipy.signal import resample_poly

from rtmelody import NoteOff, NoteOn, Recognizer
from rtmelody.config import Midi
from rtmelody.core.framing import FrontEnd
from rtmelody.errors import MidiError
from rtmelody.io.midi import MidiPort, MidiSender
from rtmelody.timebase import hop_samples

pytestmark = needs("jackd", "jack_midi_dump", "jack_wait", "jack_lsp", "jack_connect", "stdbuf")

SECONDS = 6.0
# A JACK client in a process of its own: a physical output port that plays a file, sample by sample, once a line comes in.
MICROPHONE = """
import sys, time
import jack, numpy as np
samples, playing = np.load(sys.argv[1]), False
client = jack.Client("fakemic")
port = client.outports.register("out", is_terminal=True, is_physical=True)
place = 0
@client.set_process_callback
def process(frames):
    global place
    block = np.zeros(frames, np.float32)
    if playing:
        rest = samples[place : place + frames]
        block[: len(rest)] = rest
        place += frames
    port.get_array()[:] = block
with client:
    print("ready", flush=True)
    sys.stdin.readline()
    playing = True
    while place < len(samples) + client.samplerate:
        time.sleep(0.05)
"""


def received(path):
    """(on or off, pitch) of every note message that jack_midi_dump printed."""
    lines = [line for line in path.read_text().splitlines() if re.match(r"\s*\d+:", line)]
    messages = [[int(byte, 16) for byte in line.split(":")[1].split()[:3]] for line in lines]
    return [("on" if status & 0xF0 == 0x90 else "off", pitch) for status, pitch, _ in messages if status & 0xF0 in (0x80, 0x90)]


@contextmanager
def stage(samples, folder):
    """A microphone that plays the samples, `rtmelody listen`, and a MIDI monitor on its port: (listener, messages, play)."""
    np.save(folder / "samples.npy", samples)
    dumped = folder / "dump.txt"
    with ExitStack() as stack:

        def start(*command, **streams):
            process = stack.enter_context(subprocess.Popen(command, env=ENVIRONMENT, **streams))
            stack.callback(process.kill)
            return process

        pipe = subprocess.PIPE
        microphone = start(sys.executable, "-c", MICROPHONE, folder / "samples.npy", stdin=pipe, stdout=pipe)
        assert microphone.stdout.readline() == b"ready\n"
        start("stdbuf", "-oL", "jack_midi_dump", "-a", stdout=stack.enter_context(dumped.open("w")))
        listen = [sys.executable, "-m", "rtmelody", "listen", "--device", "fakemic"]
        listener = start(*listen, stdout=pipe, stderr=subprocess.STDOUT)
        wait_for(lambda: any(name.startswith("rtmelody") for name in ports()))
        source = next(name for name in ports() if name.startswith("rtmelody"))
        sink = next(name for name in ports() if "midi-monitor" in name)
        subprocess.run(["jack_connect", source, sink], env=ENVIRONMENT, check=True, capture_output=True)

        def play():
            microphone.stdin.write(b"play\n")
            microphone.stdin.flush()

        yield listener, lambda: received(dumped), play


def test_notes_reach_a_midi_receiver(jack_server, demo, network, tmp_path):
    """What arrives are the notes of `transcribe`, each on followed by its off, also by SIGTERM in the last."""
    rate, _ = jack_server
    tune = resample_poly(demo[0][: round(SECONDS * demo[1])], rate, demo[1])
    held = organ(880.0, 20.0, rate)
    samples = np.concatenate((tune, held)).astype(np.float32)
    lead_in = np.zeros(400 * hop_samples(FrontEnd().hop_s, rate), np.float32)
    events = Recognizer(rate, None, network).push(np.concatenate((lead_in, samples[: len(tune) + rate])))
    expected = [event.pitch for event in events if isinstance(event, NoteOn)]
    assert expected[-1] == 81
    with stage(samples, tmp_path) as (listener, messages, play):
        play()
        wait_for(lambda: ("on", 81) in messages(), SECONDS + 30)
        time.sleep(0.3)
        assert messages()[-1] == ("on", 81)
        listener.send_signal(signal.SIGTERM)
        output = listener.communicate(timeout=20)[0].decode()
        assert listener.returncode == 0, output
        assert " 0 overflows" in output
        wait_for(lambda: messages()[-1] == ("off", 81))
        heard = messages()
    assert heard[::2] == [("on", pitch) for pitch in expected]
    assert heard[1::2] == [("off", pitch) for pitch in expected]


def join(monkeypatch):
    """Let the server be this process's own too."""
    for name in ("JACK_DEFAULT_SERVER", "JACK_NO_START_SERVER"):
        monkeypatch.setenv(name, ENVIRONMENT[name])


@pytest.mark.usefixtures("jack_server")
def test_an_existing_port_and_a_virtual_one_get_the_same_notes_when_they_are_due(tmp_path, monkeypatch):
    join(monkeypatch)
    dumped = tmp_path / "dump.txt"
    with ExitStack() as stack:
        command, file = ["stdbuf", "-oL", "jack_midi_dump", "-a"], stack.enter_context(dumped.open("w"))
        stack.callback(stack.enter_context(subprocess.Popen(command, env=ENVIRONMENT, stdout=file)).kill)
        wait_for(lambda: any("midi-monitor" in name for name in ports()))
        sender = MidiSender(Midi(also_to=("midi-monitor",)))
        sink = next(name for name in ports() if "midi-monitor" in name)
        subprocess.run(["jack_connect", "rtmelody:out", sink], env=ENVIRONMENT, check=True, capture_output=True)
        due = time.monotonic() + 0.5
        for event in (NoteOn(0, 60, 100, 0, 1.0, 0.0), NoteOff(0, 60)):
            sender.send(event, due)
        assert received(dumped) == []
        wait_for(lambda: len(received(dumped)) == 4)
        assert time.monotonic() >= due
        assert sorted(received(dumped)) == [("off", 60)] * 2 + [("on", 60)] * 2
        assert not sender.stalled
        assert sender.close()


@pytest.mark.usefixtures("jack_server")
def test_a_port_that_does_not_exist_is_said_in_a_sentence(monkeypatch):
    join(monkeypatch)
    with pytest.raises(MidiError, match="no MIDI port with 'nobody'"):
        MidiPort(Midi(), "nobody")


def test_a_dead_server_is_noticed(jack_server, tmp_path):
    """PortAudio says nothing and hangs in closing; `listen` says so in one sentence, and ends."""
    rate, server = jack_server
    with stage(organ(440.0, 60.0, rate), tmp_path) as (listener, messages, play):
        play()
        wait_for(lambda: ("on", 69) in messages())
        server.kill()
        output = listener.communicate(timeout=20)[0].decode()
    assert listener.returncode == 6, output
    assert "Traceback" not in output
    assert "audio input" in output


def test_without_a_midi_backend(monkeypatch):
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    with pytest.raises(MidiError, match="start JACK"):
        MidiPort(Midi())
