"""`rtmelody listen`: microphone to virtual MIDI port."""

import json
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtmelody.cli.options import config_option

if TYPE_CHECKING:
    from rtmelody.config import Config
    from rtmelody.events import Event
    from rtmelody.live import Status

REFRESH_S = 0.05  # of the status line


@click.command()
@click.option("-d", "--device", help="Input: an index, a name or a part of a name (see `rtmelody devices`).")
@click.option("--rate", type=int, help="Sample rate in Hz; default: the device's own.")
@click.option("--channel", type=int, help="Input channel, counted from 1.")
@click.option("--block-size", type=int, help="Samples a block; 0 leaves it to the device.")
@click.option("--port", help="Name of the virtual MIDI port.")
@click.option("--no-midi", is_flag=True, help="Show notes without sending them.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object an event instead of the status line.")
@config_option
def listen(
    device: str | None,
    rate: int | None,
    channel: int | None,
    block_size: int | None,
    port: str | None,
    no_midi: bool,
    as_json: bool,
    config_file: Path | None,
) -> None:
    r"""Listen to an audio input and play what it hears on a virtual MIDI port, until Ctrl-C.

    \b
    rtmelody listen                          the default input -> port "rtmelody"
    rtmelody listen --device Scarlett        the first input whose name has that in it
    rtmelody listen --no-midi --json         events for another program

    Connect your synthesizer or DAW to the port. The status line shows level, note and overflows (blocks lost because the
    computer was too slow; it should stay at 0).
    """
    from rtmelody.config import load_config
    from rtmelody.core.recognizer import Recognizer
    from rtmelody.io.audio import Microphone
    from rtmelody.live import run

    config = _overridden(
        load_config(config_file),
        audio={"device": _index_or_name(device), "sample_rate": rate, "channel": channel, "block_size": block_size},
        midi={"port": port},
    )
    microphone = Microphone(config.audio)
    recognizer = Recognizer(microphone.sample_rate, config)
    display = _Display(microphone.sample_rate, as_json)
    output = _NoMidi() if no_midi else _open_midi(config)

    def emit(event: "Event") -> None:
        output.send(event)  # first: whoever plays must not wait for the display
        display.event(event)

    try:
        status = run(microphone, recognizer, emit, display.status, _until_signal())
    finally:
        output.close()
        display.end()
    if not as_json:
        click.echo(f"Listened for {status.seconds:.0f} s, {display.notes} notes, {status.overflows} overflows.")


class _NoMidi:
    """Stands in for the port where none is wanted."""

    def send(self, event: "Event") -> None:
        """Send nowhere."""

    def close(self) -> None:
        """Nothing to close."""


class _Display:
    """A status line on a terminal, or events as JSON lines."""

    def __init__(self, sample_rate: float, as_json: bool) -> None:
        self.notes = 0
        self._rate, self._as_json = sample_rate, as_json
        self._shown_at = -1.0
        self._last = ""

    def event(self, event: "Event") -> None:
        from rtmelody.events import NoteOn
        from rtmelody.io.pictures import note_name

        starts = isinstance(event, NoteOn)
        self.notes += starts
        if self._as_json:
            click.echo(json.dumps(_event_to_dict(event, self._rate)))
        elif isinstance(event, NoteOn):
            self._last = f"{note_name(event.pitch):4s} {event.cents:+5.0f} cents  {event.confidence:4.0%}"

    def status(self, status: "Status") -> None:
        if self._as_json or not sys.stdout.isatty() or status.seconds - self._shown_at < REFRESH_S:
            return
        self._shown_at = status.seconds
        bar = "█" * max(0, min(20, round((status.level_db + 60) / 3)))
        sounding = "♪" if status.sounding is not None else " "
        line = f"{bar:20s} {status.level_db:4.0f} dB  {sounding} {self._last:24s} overflows {status.overflows} "
        click.echo(f"\r{line}", nl=False)

    def end(self) -> None:
        if not self._as_json and sys.stdout.isatty():
            click.echo()


def _event_to_dict(event: "Event", rate: float) -> dict[str, Any]:
    """An event for programs, times in seconds of the stream."""
    from rtmelody.events import NoteOn
    from rtmelody.timebase import seconds

    if not isinstance(event, NoteOn):
        return {"event": "off", "at": round(seconds(event.at, rate), 4), "midi": event.pitch}
    return {
        "event": "on",
        "at": round(seconds(event.at, rate), 4),
        "midi": event.pitch,
        "velocity": event.velocity,
        "onset": round(seconds(event.onset, rate), 4),
        "confidence": round(event.confidence, 3),
        "cents": round(event.cents, 1),
    }


def _overridden(config: "Config", **sections: dict[str, Any]) -> "Config":
    """The configuration with the options that were given, checked like a file."""
    import msgspec

    from rtmelody.config import Config, to_dict
    from rtmelody.errors import ConfigError

    content = to_dict(config)
    for name, given in sections.items():
        content[name] |= {key: value for key, value in given.items() if value is not None}
    try:
        return msgspec.convert(content, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"An option does not fit: {error}.") from error


def _index_or_name(device: str | None) -> int | str | None:
    return int(device) if device is not None and device.isdigit() else device


def _open_midi(config: "Config") -> Any:
    from rtmelody.io.midi import MidiPort

    return MidiPort(config.midi)


def _until_signal() -> threading.Event:
    """An event that Ctrl-C and SIGTERM set, so that every way out ends the notes."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    return stopping
