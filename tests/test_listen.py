"""`rtmelody listen` on a real JACK server: a microphone that plays a recording, and a MIDI receiver that nobody here wrote."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import needs
from scipy.signal import resample_poly

pytestmark = needs("jackd", "jack_midi_dump", "jack_wait")

SECONDS = 6.0
SERVER = f"rtmelody-test-{os.getpid()}"
ENVIRONMENT = os.environ | {"JACK_DEFAULT_SERVER": SERVER, "JACK_NO_START_SERVER": "1"}

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


@pytest.fixture(params=[48_000, 44_100])
def jack_server(request):
    """A dummy server that waits for slow clients, so that no sample is lost under load; its rate."""
    command = ["jackd", "-R", "--no-mlock", "-n", SERVER, "-p", "256", "-S", "-t", "2000"]
    command += ["-d", "dummy", "-r", str(request.param), "-p", "128"]
    server = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run(["jack_wait", "-s", SERVER, "-w", "-t", "10"], env=ENVIRONMENT, check=True, capture_output=True)
    yield request.param
    server.kill()  # SIGTERM can take it 24 s
    server.wait()


def received(text):
    """(on or off, pitch) of every note message that jack_midi_dump printed."""
    messages = [
        [int(byte, 16) for byte in line.split(":")[1].split()[:3]] for line in text.splitlines() if re.match(r"\s*\d+:", line)
    ]
    return [("on" if status & 0xF0 == 0x90 else "off", pitch) for status, pitch, _ in messages if status & 0xF0 in (0x80, 0x90)]


def wait_for(condition, seconds=30):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def test_notes_reach_a_midi_receiver(jack_server, demo, network, tmp_path):
    """What arrives are the notes of `transcribe`, each on ended by its off, also by the SIGTERM in the middle of one."""
    from rtmelody import Recognizer
    from rtmelody.events import NoteOn

    samples = resample_poly(demo[0][: round(SECONDS * demo[1])], jack_server, demo[1]).astype(np.float32)
    np.save(tmp_path / "samples.npy", samples)
    network.reset()
    recognizer = Recognizer(jack_server, None, network)
    expected = [event.pitch for event in recognizer.push(samples) + recognizer.flush() if isinstance(event, NoteOn)]

    microphone = subprocess.Popen(
        [sys.executable, "-c", MICROPHONE, tmp_path / "samples.npy"],
        env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    dump_file = tmp_path / "dump.txt"
    listener = dump = None
    try:
        assert microphone.stdout.readline() == b"ready\n"
        with dump_file.open("w") as out:
            dump = subprocess.Popen([shutil.which("stdbuf"), "-oL", "jack_midi_dump", "-a"], env=ENVIRONMENT, stdout=out)
        listener = subprocess.Popen(
            [sys.executable, "-m", "rtmelody", "listen", "--device", "fakemic", "--block-size", "128"],
            env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        connect_midi()
        microphone.stdin.write(b"play\n")
        microphone.stdin.close()
        wait_for(lambda: microphone.poll() is not None, SECONDS + 30)
        listener.send_signal(signal.SIGTERM)
        output = listener.communicate(timeout=20)[0].decode()
        assert listener.returncode == 0, output
        assert "0 overflows" in output
        time.sleep(0.3)
    finally:
        for process in (microphone, dump, listener):
            if process and process.poll() is None:
                process.kill()
                process.wait()
        microphone.stdout.close()
    messages = received(dump_file.read_text())
    assert [pitch for kind, pitch in messages if kind == "on"] == expected
    assert messages[::2] == [("on", pitch) for pitch in expected]
    assert messages[1::2] == [("off", pitch) for pitch in expected]


def connect_midi():
    """Connect the recognizer's port to the dumper, as a user does in his patch bay."""

    def ports():
        return subprocess.run(["jack_lsp"], env=ENVIRONMENT, capture_output=True, text=True, check=False).stdout.splitlines()

    wait_for(lambda: any(name.startswith("rtmelody") for name in ports()))
    source = next(name for name in ports() if name.startswith("rtmelody"))
    sink = next(name for name in ports() if "midi-monitor" in name)
    subprocess.run(["jack_connect", source, sink], env=ENVIRONMENT, check=True, capture_output=True)
