"""MIDI out, through python-rtmidi: ports, and the thread that serves them."""

import queue
import threading
import time
from collections.abc import Callable

import rtmidi
from rtmidi import midiconstants as midi

from rtmelody.config import Midi
from rtmelody.errors import MidiError
from rtmelody.events import Event, NoteOn

RELEASE_VELOCITY = 64  # what MIDI 1.0 asks of senders that do not measure it
STALLED_S = 1.0  # a port that takes so long for one message has died
NOW = 0.0


class MidiPort:
    """One MIDI port. Closing it leaves no note hanging."""

    def __init__(self, settings: Midi, existing: str | None = None) -> None:
        """Open the virtual port of the settings, or an existing one by a part of its name, on the first backend that works.

        Raises MidiError where none does.
        """
        self._channel = settings.channel - 1
        self._out = _open_port(settings.port, existing)

    def send(self, event: Event) -> None:
        """Send a note event."""
        if isinstance(event, NoteOn):
            self._out.send_message([midi.NOTE_ON | self._channel, event.pitch, event.velocity])
        else:
            self._out.send_message([midi.NOTE_OFF | self._channel, event.pitch, RELEASE_VELOCITY])

    def panic(self) -> None:
        """All notes and all sound off."""
        control = midi.CONTROL_CHANGE | self._channel
        self._out.send_message([control, midi.ALL_NOTES_OFF, 0])
        self._out.send_message([control, midi.ALL_SOUND_OFF, 0])

    def close(self) -> None:
        """Silence everything, then close."""
        self.panic()
        self._out.close_port()
        self._out.delete()


class MidiSender:
    """Several ports behind a thread of their own: `send` never waits, whatever becomes of a receiver."""

    def __init__(self, settings: Midi) -> None:
        """Open the virtual port and those that exist.

        Raises MidiError if one of them cannot be.
        """
        self._ports = [MidiPort(settings), *(MidiPort(settings, name) for name in settings.also_to)]
        self._waiting: queue.SimpleQueue[tuple[float, Callable[[MidiPort], None]] | None] = queue.SimpleQueue()
        self._busy_since: float | None = None
        self._failed = False  # whether a port has refused a message
        self._patience_s = STALLED_S + (settings.fixed_latency_s or 0.0)  # until what waits has been sent
        self._thread = threading.Thread(target=self._serve, name="midi", daemon=True)
        self._thread.start()

    @property
    def stalled(self) -> bool:
        """Whether a port has refused a message, or not taken one for a second: its device or its server has gone."""
        since = self._busy_since
        return self._failed or (since is not None and time.monotonic() - since > STALLED_S)

    def send(self, event: Event, due: float = NOW) -> None:
        """Send a note event at a time of `time.monotonic`, in the order of the calls; at once if that is past."""
        self._waiting.put((due, lambda port: port.send(event)))

    def panic(self) -> None:
        """All notes and all sound off, after what waits."""
        self._waiting.put((NOW, MidiPort.panic))

    def flush(self) -> bool:
        """Wait until what was asked for has been sent; whether it was, in the time that a living port takes."""
        sent = threading.Event()
        self._waiting.put((NOW, lambda _port: sent.set()))
        return sent.wait(self._patience_s)

    def close(self) -> bool:
        """Silence everything and close; whether that came to an end."""
        self._waiting.put(None)
        self._thread.join(self._patience_s)
        return not self._thread.is_alive()

    def _serve(self) -> None:
        while (item := self._waiting.get()) is not None:
            due, act = item
            if (early := due - time.monotonic()) > 0:
                time.sleep(early)
            self._busy_since = time.monotonic()
            self._to_all(act)
            self._busy_since = None
        self._to_all(MidiPort.close)

    def _to_all(self, act: Callable[[MidiPort], None]) -> None:
        """A port that has gone must not silence the others."""
        for port in self._ports:
            try:
                act(port)
            except (rtmidi.RtMidiError, ValueError):
                self._failed = True


def _open_port(name: str, existing: str | None) -> rtmidi.MidiOut:
    """Try every backend: rtmidi picks the first compiled one even where it cannot run."""
    for api in rtmidi.get_compiled_api():
        try:
            out = rtmidi.MidiOut(api, name=name)
            if existing or api == rtmidi.API_WINDOWS_MM:  # has no virtual ports: loopMIDI makes one of that name
                wanted = existing or name
                out.open_port(next(place for place, port in enumerate(out.get_ports()) if wanted in port), "to")
            else:
                # CoreMIDI shows the port's name alone, JACK and ALSA put the client's before it.
                out.open_virtual_port(name if api == rtmidi.API_MACOSX_CORE else "out")
        except (rtmidi.RtMidiError, NotImplementedError, StopIteration):
            continue
        return out
    if existing:
        raise MidiError(f"There is no MIDI port with {existing!r} in its name: start the program it belongs to first.")
    raise MidiError(
        "No MIDI port can be opened: start JACK or load the ALSA sequencer (`modprobe snd-seq`); on Windows, make a port named "
        f"{name} with loopMIDI; or go without MIDI with --no-midi."
    )
