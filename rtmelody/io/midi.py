"""MIDI out, through python-rtmidi: notes, and with them how far they are bent."""

import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import rtmidi
from msgspec import structs
from rtmidi import midiconstants as midi

from rtmelody.config import Midi
from rtmelody.errors import MidiError
from rtmelody.events import Event, NoteOn

RELEASE_VELOCITY = 64  # what MIDI 1.0 asks of senders that do not measure it
CENTRE, HIGHEST_BEND = 8_192, 16_383
# Registered parameters (MIDI 1.0) and what an MPE zone starts with (MPE 1.0, 2.1 and 2.4): semitones that a bend reaches.
BEND_RANGE, MPE_ZONE, NO_PARAMETER = 0x0000, 0x0006, 0x3FFF
MEMBERS = 15
REACH = {"pitch": 2, "mpe": 48}
MANAGER_REACH = 2
LOST_S = 0.3  # a message that takes longer


def midi_ports(settings: Midi) -> list["MidiPort"]:
    """The virtual port of the settings, and the existing ones that they name.

    Raises MidiError if one of them cannot be opened.
    """
    return [MidiPort(settings), *(MidiPort(settings, name) for name in settings.also_to)]


class MidiPort:
    """One MIDI port. Closing it leaves no note hanging."""

    def __init__(self, settings: Midi, existing: str | None = None) -> None:
        """Open the virtual port of the settings, or an existing one by a part of its name, on the first backend that works.

        Raises MidiError where none does.
        """
        self._bend = settings.bend
        # With MPE every note has a channel of its own, so that its bend does not take the last one's echo along.
        self._channels = range(1, 1 + MEMBERS) if settings.bend == "mpe" else range(settings.channel - 1, settings.channel)
        self._channel = self._channels[-1]  # of the latest note
        self._out = _open_port(settings.port, existing)
        self._announce()

    @property
    def api(self) -> int:
        """RtMidi's number of the backend."""
        return int(self._out.get_current_api())

    def send(self, event: Event) -> None:
        """Send a note event."""
        if isinstance(event, NoteOn):
            after = self._channel - self._channels[0] + 1
            self._channel = self._channels[after % len(self._channels)]
            if self._bend:
                self.bend(event.cents)
            self._send(midi.NOTE_ON | self._channel, event.pitch, event.velocity)
        else:
            self._send(midi.NOTE_OFF | self._channel, event.pitch, RELEASE_VELOCITY)

    def bend(self, cents: float) -> None:
        """Bend the latest note, if that is wanted at all."""
        if self._bend:
            value = CENTRE + round(CENTRE * cents / (100 * REACH[self._bend]))
            self._send_bend(self._channel, max(0, min(HIGHEST_BEND, value)))

    def panic(self) -> None:
        """All notes and all sound off, and no bend; what a bend means is announced again, for those who came late."""
        for channel in self._channels:
            self._control(channel, midi.ALL_NOTES_OFF, 0)
            self._control(channel, midi.ALL_SOUND_OFF, 0)
            if self._bend:
                self._send_bend(channel, CENTRE)
        self._announce()

    def close(self) -> None:
        """Silence everything, then close."""
        self.panic()
        self._out.close_port()
        self._out.delete()

    def _announce(self) -> None:
        """How far a bend reaches: said to one channel of a zone, it holds for all."""
        if self._bend == "mpe":
            self._parameter(0, MPE_ZONE, MEMBERS)
            self._parameter(0, BEND_RANGE, MANAGER_REACH)
        if self._bend:
            self._parameter(self._channels[0], BEND_RANGE, REACH[self._bend])

    def _parameter(self, channel: int, parameter: int, value: int) -> None:
        """Set a registered parameter, and leave it, so that no stray controller changes it."""
        self._choose(channel, parameter)
        self._control(channel, midi.DATA_ENTRY_MSB, value)
        self._control(channel, midi.DATA_ENTRY_LSB, 0)
        self._choose(channel, NO_PARAMETER)

    def _choose(self, channel: int, parameter: int) -> None:
        self._control(channel, midi.RPN_MSB, parameter >> 7)
        self._control(channel, midi.RPN_LSB, parameter & 0x7F)

    def _control(self, channel: int, controller: int, value: int) -> None:
        self._send(midi.CONTROL_CHANGE | channel, controller, value)

    def _send_bend(self, channel: int, value: int) -> None:
        self._send(midi.PITCH_BEND | channel, value & 0x7F, value >> 7)

    def _send(self, *message: int) -> None:
        with _mapped_errors():
            self._out.send_message(message)


class MidiEcho:
    """A virtual port and an input that is connected to it, to see how long a message takes."""

    def __init__(self, settings: Midi) -> None:
        """Open both.

        Raises MidiError where there is no MIDI, or no virtual port.
        """
        self._port = MidiPort(structs.replace(settings, bend=None))  # each note is one message
        self._arrived: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._in = rtmidi.MidiIn(self._port.api, name=f"{settings.port} echo")
        with _mapped_errors():
            names = self._in.get_ports()
            place = next((place for place, name in enumerate(names) if settings.port in name and "echo" not in name), None)
            if place is None:
                raise MidiError(f"The virtual port {settings.port} cannot be heard.")
            self._in.set_callback(lambda _message, _data: self._arrived.put(time.monotonic()))
            self._in.open_port(place, "from")

    def trip(self, event: Event) -> float | None:
        """Seconds that a note event takes; None if it gets lost."""
        while not self._arrived.empty():  # what was lost may have been late
            self._arrived.get()
        sent = time.monotonic()
        self._port.send(event)
        try:
            return self._arrived.get(timeout=LOST_S) - sent
        except queue.Empty:
            return None

    def close(self) -> None:
        """Close both."""
        self._in.close_port()
        self._in.delete()
        self._port.close()


@contextmanager
def _mapped_errors() -> Iterator[None]:
    """RtMidi's errors as ours."""
    try:
        yield
    except (rtmidi.RtMidiError, ValueError) as error:
        raise MidiError(f"The MIDI port takes nothing more ({error}).") from error


def _open_port(name: str, existing: str | None) -> rtmidi.MidiOut:
    """Try every backend: rtmidi picks the first compiled one even where it cannot run."""
    offered: set[str] = set()
    for api in rtmidi.get_compiled_api():
        with suppress(rtmidi.RtMidiError, NotImplementedError):
            out = rtmidi.MidiOut(api, name=name)
            try:
                offered.update(out.get_ports() if existing else ())
                _connect(out, name, existing)
            except (rtmidi.RtMidiError, NotImplementedError, StopIteration):
                out.delete()  # a client that lingers would hinder its namesake on the next server
            else:
                return out
    if existing:
        there = f"there are {', '.join(sorted(offered))}" if offered else "there are none"
        raise MidiError(
            f"There is no MIDI port with {existing!r} in its name ({there}): start the program it belongs to first."
        )
    raise MidiError(
        "No MIDI port can be opened: start JACK or load the ALSA sequencer (`modprobe snd-seq`); on Windows, make a port named "
        f"{name} with loopMIDI; or go without MIDI with --no-midi."
    )


def _connect(out: rtmidi.MidiOut, name: str, existing: str | None) -> None:
    """Make the virtual port, or find the existing one; whatever cannot be done raises."""
    if existing or out.get_current_api() == rtmidi.API_WINDOWS_MM:  # has no virtual ports: loopMIDI makes one of that name
        wanted, ports = existing or name, enumerate(out.get_ports())
        matching = sorted((port != wanted, place) for place, port in ports if wanted.lower() in port.lower())
        out.open_port(next(place for _, place in matching), "to")  # an exact name comes first
    else:
        # CoreMIDI shows the port's name alone, JACK and ALSA put the client's before it.
        out.open_virtual_port(name if out.get_current_api() == rtmidi.API_MACOSX_CORE else "out")
