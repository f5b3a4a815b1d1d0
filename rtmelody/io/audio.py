"""Microphones, other inputs, and loudspeakers, through PortAudio (sounddevice)."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rtmelody.config import Audio
from rtmelody.core.ring import Ring
from rtmelody.errors import AudioDeviceError

CLOSING_S = 3.0  # a living device closes within one, unless the machine is very busy
hung = False  # whether a stream could not be closed: then the exit of this process would wait for ever, see `cli.main`
SHORTEST_RING_S = 1.0  # of a loudspeaker, which is given a whole tone at once


@dataclass(frozen=True, slots=True)
class Device:
    """An input or output that PortAudio offers, with its channels of that direction."""

    index: int
    name: str
    host_api: str
    channels: int
    sample_rate: float


Direction = Literal["input", "output"]


def devices(direction: Direction) -> list[Device]:
    """Every device with a channel of that direction.

    Raises AudioDeviceError without PortAudio.
    """
    sounddevice = _sounddevice()
    with _mapped_errors(sounddevice):
        apis = sounddevice.query_hostapis()
        return [
            Device(
                index=index,
                name=device["name"],
                host_api=apis[device["hostapi"]]["name"],
                channels=device[f"max_{direction}_channels"],
                sample_rate=device["default_samplerate"],
            )
            for index, device in enumerate(sounddevice.query_devices())
            if device[f"max_{direction}_channels"] > 0
        ]


def look_again() -> None:
    """Let PortAudio find devices that have come since it was loaded; no stream may be open."""
    sounddevice = _sounddevice()
    with suppress(sounddevice.PortAudioError):  # it was not initialized the last time
        sounddevice._terminate()  # noqa: SLF001 (the way that its issue 16 names)
    with _mapped_errors(sounddevice):
        sounddevice._initialize()  # noqa: SLF001


class Microphone:
    """A PortAudio input that fills a ring from its callback.

    `sample_rate` is known once it is made; the stream runs from `start` to `stop`.
    """

    def __init__(self, settings: Audio) -> None:
        """Open the configured device.

        Raises AudioDeviceError, with one sentence for the user, if that fails.
        """
        sounddevice = _sounddevice()
        self._sounddevice = sounddevice
        self._column = settings.channel - 1
        with _mapped_errors(sounddevice):
            self._stream = sounddevice.InputStream(
                device=resolved(settings.device, "input"),
                samplerate=settings.sample_rate,
                channels=settings.channel,
                blocksize=settings.block_size,
                latency=settings.latency,
                dtype="float32",
                callback=self._on_block,
            )
        self.sample_rate: float = self._stream.samplerate
        self.xruns = 0  # times that the device reported lost samples
        self.ring = Ring(max(round(settings.ring_s * self.sample_rate), 4 * settings.block_size))

    @property
    def finished(self) -> bool:
        """Whether no more samples will come: the device has gone."""
        with _mapped_errors(self._sounddevice):
            return not self._stream.active

    def start(self) -> None:
        """Let the callbacks begin."""
        with _mapped_errors(self._sounddevice):
            self._stream.start()

    def stop(self) -> bool:
        """End the stream; whether that worked.

        With its JACK server dead, PortAudio waits in abort and close for ever: then a thread is left waiting, and so would be
        the exit of the process.
        """
        return _closed_in_time(self._stream)

    def _on_block(self, block: NDArray[np.float32], _frames: int, _time: Any, status: Any) -> None:
        """PortAudio's callback: copy and count, nothing else."""
        self.xruns += status.input_overflow
        self.ring.write(block[:, self._column])


class Loudspeaker:
    """A PortAudio output that plays what is written to it, and silence when nothing is."""

    def __init__(self, settings: Audio, sample_rate: float) -> None:
        """Open the configured output at a sample rate.

        Raises AudioDeviceError, with one sentence for the user, if that fails.
        """
        sounddevice = _sounddevice()
        self._sounddevice = sounddevice
        self.sample_rate = sample_rate
        self._ring = Ring(round(max(settings.ring_s, SHORTEST_RING_S) * sample_rate))
        with _mapped_errors(sounddevice, "output"):
            self._stream = sounddevice.OutputStream(
                device=resolved(settings.output_device, "output"),
                samplerate=sample_rate,
                channels=1,
                blocksize=settings.block_size,
                latency=settings.latency,
                dtype="float32",
                callback=self._on_block,
            )

    def start(self) -> None:
        """Let the callbacks begin."""
        with _mapped_errors(self._sounddevice, "output"):
            self._stream.start()

    def write(self, samples: NDArray[np.float32]) -> None:
        """Play mono samples after those that wait already."""
        self._ring.write(samples)

    def stop(self) -> bool:
        """End the stream; whether that worked, see `Microphone.stop`."""
        return _closed_in_time(self._stream)

    def _on_block(self, block: NDArray[np.float32], _frames: int, _time: Any, _status: Any) -> None:
        """PortAudio's callback: copy, nothing else."""
        self._ring.read_into(block[:, 0])


def resolved(device: str | int | None, direction: Direction) -> int:
    """Index of the default device for None, or of the first one whose name has the given text in it (PortAudio wants only one).

    Raises AudioDeviceError if there is none.
    """
    if isinstance(device, int):
        return device
    if device == "-":
        raise AudioDeviceError("Only `rtmelody listen` and `rtmelody monitor` take standard input (-): name a device.")
    offered = devices(direction)
    if not offered:
        raise AudioDeviceError(f"There is no audio {direction}: connect one, or start the sound server.")
    if device is None:
        default = int(_sounddevice().default.device[direction])
        return default if default >= 0 else offered[0].index
    matching = [found for found in offered if device.lower() in found.name.lower()]
    if not matching:
        raise AudioDeviceError(f"No audio {direction} has {device!r} in its name: see `rtmelody devices`.")
    exact = [found for found in matching if found.name == device]
    return (exact or matching)[0].index


def _closed_in_time(stream: Any) -> bool:
    """Close a stream from a thread of its own; whether that came to an end."""
    global hung  # noqa: PLW0603 (PortAudio's state is the process's)

    def close() -> None:
        stream.abort(ignore_errors=True)
        stream.close(ignore_errors=True)

    closing = threading.Thread(target=close, daemon=True)
    closing.start()
    closing.join(CLOSING_S)
    hung = hung or closing.is_alive()
    return not closing.is_alive()


def _sounddevice() -> ModuleType:
    """The package, which fails to import where PortAudio is missing."""
    try:
        return import_module("sounddevice")
    except OSError as error:
        raise AudioDeviceError("PortAudio is missing: install it (Debian: `apt install libportaudio2`).") from error


@contextmanager
def _mapped_errors(sounddevice: ModuleType, direction: Direction = "input") -> Iterator[None]:
    """PortAudio's errors, and sounddevice's for settings that fit no device, as ours."""
    try:
        yield
    except (sounddevice.PortAudioError, ValueError) as error:
        message = " ".join(str(error).split())
        raise AudioDeviceError(f"The audio {direction} cannot be used ({message}): see `rtmelody devices`.") from error
