"""`rtmelody listen` on a real PulseAudio server: it tells of a killed server where JACK does not, and keeps a backlog."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, closing

import numpy as np
import psutil
import pytest
from conftest import needs, organ, wait_for

pytestmark = needs("pulseaudio", "pactl", "paplay", "/usr/share/alsa/alsa.conf.d/50-pulseaudio.conf")

RATE = 48_000
PLAY = ["paplay", "--raw", f"--rate={RATE}", "--format=s16le", "--channels=1"]
SINK = f"module-null-sink sink_name=stage rate={RATE} channels=1"
SERVER = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--realtime=no"]
SERVER += ["-L", SINK, "-L", "module-native-protocol-unix"]
ALSA = "pcm.!default { type pulse }\nctl.!default { type pulse }\n"


class House:
    """A home with a sound server of its own, and programs in it; all end with it."""

    def __init__(self, folder):
        run = folder / "run"
        run.mkdir(mode=0o700)
        (folder / ".asoundrc").write_text(ALSA)
        self._folder, self._stack = folder, ExitStack()
        self._environment = os.environ | {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(run),
            "PULSE_RUNTIME_PATH": str(run / "pulse"),
            "JACK_NO_START_SERVER": "1",
        }

    def start(self, *command, **streams):
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | streams
        program = self._stack.enter_context(subprocess.Popen(command, env=self._environment, **streams))
        self._stack.callback(program.kill)
        return program

    def server(self):
        server = self.start(*SERVER)
        wait_for(lambda: "stage" in self.told("list", "short", "sources"))
        return server

    def told(self, *question):
        """What the server says."""
        answer = subprocess.run(["pactl", *question], env=self._environment, capture_output=True, text=True, check=False)
        return answer.stdout

    def listener(self):
        """`rtmelody listen`, once it listens."""
        output = self._stack.enter_context((self._folder / "listened.txt").open("w"))
        command = [sys.executable, "-m", "rtmelody", "listen", "--no-midi", "--json"]
        listener = self.start(*command, stdout=output, stderr=output)
        wait_for(lambda: self.told("list", "short", "source-outputs"))
        return listener

    def play(self, *notes):
        """Let a program hold notes, each so long (s)."""
        tune = np.concatenate([organ(440.0 * 2 ** ((pitch - 69) / 12), seconds, RATE) for pitch, seconds in notes])
        file = self._folder / "tune.raw"
        (32_767 * tune).astype("<i2").tofile(file)
        return self.start(*PLAY, file)

    @property
    def output(self):
        return (self._folder / "listened.txt").read_text()

    def heard(self, pitch):
        return f'"midi":{pitch},"velocity"' in self.output

    def close(self):
        self._stack.close()


@pytest.fixture
def house(tmp_path):
    with closing(House(tmp_path)) as home:
        yield home


def ended(house, listener):
    """It ends well, and every note has ended."""
    listener.send_signal(signal.SIGTERM)
    assert listener.wait(20) == 0, house.output
    assert house.output.count('"event":"on"') == house.output.count('"event":"off"')
    assert "Traceback" not in house.output


def hears_again(house):
    """Without a hand, once there is an input."""
    wait_for(lambda: house.told("list", "short", "source-outputs"))
    house.play((72, 20.0))
    wait_for(lambda: house.heard(72))


def test_a_killed_server_is_outlived(house):
    server, listener = house.server(), house.listener()
    house.play((69, 20.0))
    wait_for(lambda: house.heard(69))
    killed_at = time.monotonic()
    server.kill()
    wait_for(lambda: "audio input" in house.output and '"event":"off"' in house.output)
    assert time.monotonic() - killed_at < 5  # within a second on a machine that has nothing else to do
    house.server()
    hears_again(house)
    ended(house, listener)


def test_a_device_that_is_unplugged_and_comes_back(house):
    house.server()
    listener = house.listener()
    house.play((69, 20.0))
    wait_for(lambda: house.heard(69))
    house.told("unload-module", "module-null-sink")
    wait_for(lambda: "audio input" in house.output and '"event":"off"' in house.output)
    house.told("load-module", *SINK.split())
    hears_again(house)
    ended(house, listener)


def test_after_a_suspension_the_backlog_is_dropped(house):
    """The server keeps what was played meanwhile; its notes are of the past."""
    house.server()
    listener = house.listener()
    house.play((69, 1.0), (72, 2.0), (76, 20.0))
    wait_for(lambda: house.heard(69))
    engine = next(child for child in psutil.Process(listener.pid).children() if "spawn_main" in " ".join(child.cmdline()))
    engine.suspend()
    time.sleep(3.8)  # after five seconds another engine would take its place
    engine.resume()
    wait_for(lambda: "suspended" in house.output)
    wait_for(lambda: house.heard(76))
    assert not house.heard(72)
    ended(house, listener)
