"""Processes around a JACK server: a microphone that plays samples, `rtmelody listen`, a MIDI monitor that nobody here wrote."""

import json
import re
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import httpx
import numpy as np
from conftest import ENVIRONMENT, ports, wait_for
from websockets.sync.client import connect

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

    def __exit__(self, kind, *_):
        self._stack.close()
        listened = self._folder / "listened.txt"
        if kind and listened.exists():
            print(listened.read_text())  # so that the report of a failed test has it

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


class Theatre:
    """A JACK server, a microphone, and the monitor at an address."""

    def __init__(self, stage, samples, *options):
        self.play = stage.microphone(samples)
        command = [sys.executable, "-m", "rtmelody", "monitor", "--device", "fakemic", "--port", "0", "--no-midi", *options]
        self.process = stage.start(*command, stderr=subprocess.PIPE, text=True)
        self.complaints = []
        threading.Thread(target=lambda: self.complaints.extend(self.process.stderr), daemon=True).start()
        self.link = wait_for(lambda: next((line.strip() for line in self.complaints if line.startswith("http")), None))
        self.url = re.match(r"http://[^/]*/", self.link)[0].replace("localhost", "127.0.0.1")
        self.token = self.link.partition("token=")[2]
        wait_for(lambda: self.get("health").status_code == 200)

    def get(self, path, **parameters):
        try:
            return httpx.get(self.url + path, params={"token": self.token, **parameters}, timeout=30)
        except httpx.ConnectError:
            return httpx.Response(599)

    def post(self, path, content, **parameters):
        return httpx.post(self.url + path, params={"token": self.token, **parameters}, content=content, timeout=120)

    def socket(self, path, **parameters):
        query = "&".join(f"{name}={value}" for name, value in {"token": self.token, **parameters}.items())
        return connect(f"{self.url.replace('http', 'ws')}{path}?{query}", max_size=1 << 22)


def until(viewer, wanted, seconds=20):
    """The first message of a kind."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        message = json.loads(viewer.recv(timeout=seconds))
        if wanted(message):
            return message
    raise AssertionError("waited in vain")
