"""MIDI out, through python-rtmidi."""

import rtmidi
from rtmidi import midiconstants as midi

from rtmelody.config import Midi
from rtmelody.errors import MidiError
from rtmelody.events import Event, NoteOn

HIGHEST_PITCH = 127
RELEASE_VELOCITY = 64  # what MIDI 1.0 asks of senders that do not measure it


class MidiPort:
    """A virtual MIDI port, to which other programs connect. Closing it leaves no note hanging."""

    def __init__(self, settings: Midi) -> None:
        """Open the port on the first MIDI backend that works.

        Raises MidiError where none does.
        """
        self._settings = settings
        self._out = _open_port(settings.port)

    def send(self, event: Event) -> None:
        """Send a note event; a pitch that transposition pushes out of 0…127 is left out."""
        pitch = event.pitch + self._settings.transpose
        if not 0 <= pitch <= HIGHEST_PITCH:
            return
        channel = self._settings.channel - 1
        if isinstance(event, NoteOn):
            self._out.send_message([midi.NOTE_ON | channel, pitch, event.velocity])
        else:
            self._out.send_message([midi.NOTE_OFF | channel, pitch, RELEASE_VELOCITY])

    def panic(self) -> None:
        """All notes and all sound off."""
        control = midi.CONTROL_CHANGE | (self._settings.channel - 1)
        self._out.send_message([control, midi.ALL_NOTES_OFF, 0])
        self._out.send_message([control, midi.ALL_SOUND_OFF, 0])

    def close(self) -> None:
        """Silence everything, then close."""
        self.panic()
        self._out.close_port()
        self._out.delete()


def _open_port(name: str) -> rtmidi.MidiOut:
    """Try every backend: rtmidi picks the first compiled one even where it cannot run."""
    for api in rtmidi.get_compiled_api():
        try:
            out = rtmidi.MidiOut(api, name=name)
            if api == rtmidi.API_WINDOWS_MM:  # has no virtual ports: loopMIDI makes one of that name
                out.open_port(next(place for place, port in enumerate(out.get_ports()) if name in port))
            else:
                # CoreMIDI shows the port's name alone, JACK and ALSA put the client's before it.
                out.open_virtual_port(name if api == rtmidi.API_MACOSX_CORE else "out")
        except (rtmidi.RtMidiError, NotImplementedError, StopIteration):
            continue
        return out
    raise MidiError(
        "No MIDI port can be opened: start JACK or load the ALSA sequencer (`modprobe snd-seq`); on Windows, make a port named "
        f"{name} with loopMIDI; or go without MIDI with --no-midi."
    )
