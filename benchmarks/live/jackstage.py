"""A JACK server, and a client of it that is microphone and MIDI receiver at once and notes the frame of everything."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Self

import numpy as np

RATE = 48_000
SERVER = "rtmelody-bench"
ENVIRONMENT = os.environ | {"JACK_DEFAULT_SERVER": SERVER, "JACK_NO_START_SERVER": "1"}
WAITING = ("-S", "-t", "2000")  # for slow clients: a busy machine makes the server slower, but no frame is lost
WARMING_S = 12.0  # Python, Numba and the model are loaded meanwhile
AFTERWARDS_S = 0.5
Message = tuple[int, int, int]  # frame, status, pitch


@contextmanager
def server(*mode: str, period: int) -> Iterator[None]:
    """A dummy JACK server."""
    command = ["jackd", "-R", "--no-mlock", "-n", SERVER, "-p", "256", *mode, "-d", "dummy", "-r", str(RATE), "-p", str(period)]
    with ExitStack() as stack:
        process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.kill)
        subprocess.run(["jack_wait", "-s", SERVER, "-w", "-t", "10"], env=ENVIRONMENT, check=True, capture_output=True)
        yield


class Stage:
    """A microphone that plays a sound [samples] at RATE, and a receiver of MIDI."""

    def __init__(self, sound: np.ndarray) -> None:
        import jack  # fails to import where there is no JACK

        self._sound, self._playing = sound, False
        self.began = 0  # frame of the sound's first sample
        self.clock: list[tuple[int, float]] = []  # frames, and when they were handed over, of `time.time`
        self.messages: list[Message] = []
        self._client = jack.Client("fakemic", servername=SERVER)
        self._out = self._client.outports.register("out", is_terminal=True, is_physical=True)
        self._midi = self._client.midi_inports.register("heard")
        self._client.set_process_callback(self._process)

    def __enter__(self) -> Self:
        self._client.activate()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.deactivate()
        self._client.close()

    def connect(self) -> None:
        """Join other programs' ports to these, however long it takes to open them."""
        own = {self._out.name, self._midi.name}
        until = time.monotonic() + WARMING_S
        while time.monotonic() < until:
            for port in self._client.get_ports(is_midi=True, is_output=True):
                if port.name not in own and not port.name.startswith("system") and not self._midi.is_connected_to(port):
                    self._client.connect(port, self._midi)
            for port in self._client.get_ports(is_audio=True, is_input=True):
                if not port.name.startswith("system") and not self._out.is_connected_to(port):
                    self._client.connect(self._out, port)
            time.sleep(0.2)

    def play(self) -> None:
        """The whole sound, and what follows it."""
        self._playing = True
        while not self.began or self._client.frame_time < self.began + len(self._sound):
            time.sleep(0.1)
        time.sleep(AFTERWARDS_S)

    def _process(self, frames: int) -> None:
        now = self._client.last_frame_time
        block = np.zeros(frames, np.float32)
        if self._playing:
            self.began = self.began or now
            self.clock.append((now, time.time()))
            place = now - self.began  # by the server's count: it may have left this client out in between
            rest = self._sound[place : place + frames]
            block[: len(rest)] = rest
        self._out.get_array()[:] = block
        for offset, data in self._midi.incoming_midi_events():
            status, pitch, velocity = (*bytes(data), 0, 0)[:3]
            self.messages.append((now + offset, status if velocity else 0, pitch))
