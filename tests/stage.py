"""Processes around a JACK server: a microphone that plays samples, `rtmelody listen`, a MIDI monitor that nobody here wrote."""

import re
import subprocess
import sys
from contextlib import ExitStack

import numpy as np
from conftest import ENVIRONMENT, ports, wait_for

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


def dumped(path):
    """The three bytes of every message that jack_midi_dump printed."""
    lines = [line for line in path.read_text().splitlines() if re.match(r"\s*\d+:", line)]
    return [[int(byte, 16) for byte in line.split(":")[1].split()[:3]] for line in lines]


def received(path):
    """(on or off, pitch) of its note messages."""
    names = {0x80: "off", 0x90: "on"}
    return [(names[status & 0xF0], pitch) for status, pitch, _ in dumped(path) if status & 0xF0 in names]


class Stage:
    """Processes on a JACK server; all end with it."""

    def __init__(self, folder):
        self._folder, self._stack, self._monitors = folder, ExitStack(), 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()

    def start(self, *command, **streams):
        process = self._stack.enter_context(subprocess.Popen(command, env=ENVIRONMENT, **streams))
        self._stack.callback(process.kill)
        return process

    def microphone(self, samples):
        """What makes it play the samples."""
        np.save(self._folder / "samples.npy", samples)
        pipe = subprocess.PIPE
        process = self.start(sys.executable, "-c", MICROPHONE, self._folder / "samples.npy", stdin=pipe, stdout=pipe)
        assert process.stdout.readline() == b"ready\n"
        self.stop_microphone = process.kill

        def play():
            process.stdin.write(b"play\n")
            process.stdin.flush()

        return play

    def listener(self, *options):
        """`rtmelody listen`, its output in listened.txt."""
        command = [sys.executable, "-m", "rtmelody", "listen", "--device", "fakemic", *options]
        output = self._stack.enter_context((self._folder / "listened.txt").open("w"))
        return self.start(*command, stdout=output, stderr=subprocess.STDOUT)

    @property
    def output(self):
        return (self._folder / "listened.txt").read_text()

    def monitor(self, parse=received):
        """What tells the messages that come out of `rtmelody listen`."""
        self._monitors += 1
        dump = self._folder / f"dump{self._monitors}.txt"
        self.start("stdbuf", "-oL", "jack_midi_dump", "-a", stdout=self._stack.enter_context(dump.open("w")))
        source, sink = wait_for(lambda: port_of("rtmelody")), wait_for(lambda: port_of("midi-monitor"))
        subprocess.run(["jack_connect", source, sink], env=ENVIRONMENT, check=True, capture_output=True)
        return lambda: parse(dump)


def port_of(client):
    """The first port with a client's name."""
    return next((name for name in ports() if client in name), None)
