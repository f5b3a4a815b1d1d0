"""`rtmelody listen`: microphone to virtual MIDI port."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtmelody.cli.options import Duration, config_option, index_or_name, overridden, until_signal
from rtmelody.errors import AudioDeviceError, MidiError, RtmelodyError

if TYPE_CHECKING:
    from rtmelody.config import Config
    from rtmelody.events import Event
    from rtmelody.io.audio import Microphone
    from rtmelody.live import Status

REFRESH_S = 0.05  # of the status line


@click.command()
@click.option("-d", "--device", help="Input: an index, a name or a part of a name (see `rtmelody devices`).")
@click.option("--rate", type=int, help="Sample rate in Hz; default: the device's own.")
@click.option("--channel", type=int, help="Input channel, counted from 1.")
@click.option("--block-size", type=int, help="Samples a block; 0 leaves it to the device.")
@click.option("--port", help="Name of the virtual MIDI port.")
@click.option("--to", "also_to", multiple=True, help="Send to this existing MIDI port too (a part of its name); repeatable.")
@click.option("--transpose", type=int, help="Semitones.")
@click.option("--scale", help="Move notes to a scale: 'C major', 'F# minor', 'A minor pentatonic' …")
@click.option("--fixed-latency", type=Duration(), help="Send each note so long after its onset (30ms, 0.03), for less jitter.")
@click.option("--no-midi", is_flag=True, help="Show notes without sending them.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object an event instead of the status line.")
@config_option
def listen(
    device: str | None,
    rate: int | None,
    channel: int | None,
    block_size: int | None,
    port: str | None,
    also_to: tuple[str, ...],
    transpose: int | None,
    scale: str | None,
    fixed_latency: float | None,
    no_midi: bool,
    as_json: bool,
    config_file: Path | None,
) -> None:
    """Listen to an audio input and play what it hears on a virtual MIDI port, until Ctrl-C.

    \b
    rtmelody listen                          the default input -> port "rtmelody"
    rtmelody listen --device Scarlett        the first input whose name has that in it
    rtmelody listen --fixed-latency 50ms     every note 50 ms after its onset: later, but even
    rtmelody listen --no-midi --json         events for another program

    Connect your synthesizer or DAW to the port. The status line shows level, note, overflows (blocks lost because the
    recognizer was late) and xruns (losses that the device reports); both should stay at 0.
    """  # noqa: D301 (click wants the character itself)
    from rtmelody.config import load_config
    from rtmelody.core.arranger import Arranger
    from rtmelody.core.recognizer import Recognizer
    from rtmelody.events import began
    from rtmelody.io.audio import Microphone
    from rtmelody.live import StreamClock, run

    config = overridden(
        load_config(config_file),
        audio={"device": index_or_name(device), "sample_rate": rate, "channel": channel, "block_size": block_size},
        midi={
            "port": port,
            "also_to": also_to or None,
            "transpose": transpose,
            "scale": scale,
            "fixed_latency_s": fixed_latency,
        },
    )
    microphone = Microphone(config.audio)
    display = _Display(microphone.sample_rate, as_json)
    stopping = until_signal()
    # The microphone stops first: RtMidi holds the interpreter's lock while it closes, and JACK waits for the audio callback.
    with _output(config, no_midi) as output, _closed(microphone):
        recognizer = Recognizer(microphone.sample_rate, config)
        arranger, clock, latency_s = Arranger(config.midi), StreamClock(microphone.sample_rate), config.midi.fixed_latency_s

        def emit(event: "Event") -> None:
            if arranged := arranger.arrange(event):  # first: whoever plays must not wait for the display
                output.send(arranged, clock.time_of(began(event)) + latency_s if latency_s else 0.0)
            display.event(event)

        status = run(microphone, recognizer, emit, display.status, stopping, clock)
        if not stopping.is_set():
            raise AudioDeviceError("The audio input has gone: connect it again and restart.")
    display.end(status)


@contextmanager
def _closed(microphone: "Microphone") -> Iterator[None]:
    """Stop the microphone at the end; if PortAudio hangs in that, leave at once: nothing else is left to do."""
    code = RtmelodyError.exit_code
    try:
        yield
        code = 0
    except RtmelodyError as error:
        code = error.exit_code
        click.echo(f"rtmelody: {error}", err=True)
    finally:
        if not microphone.stop():
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    if code:
        sys.exit(code)


@contextmanager
def _output(config: "Config", no_midi: bool) -> Iterator[Any]:
    """The MIDI port, which leaves no note hanging when it closes; or nothing."""
    if no_midi:
        yield _NoMidi()
        return
    try:
        from rtmelody.io.midi import MidiSender
    except ImportError as error:
        raise MidiError("MIDI needs python-rtmidi: run `pip install python-rtmidi` (it may need a compiler).") from error

    with closing(MidiSender(config.midi)) as sender:
        yield sender


class _NoMidi:
    """Stands in for the port where none is wanted."""

    def send(self, event: "Event", due: float = 0.0) -> None:
        """Send nowhere."""


class _Display:
    """A status line on a terminal, or events as JSON lines."""

    def __init__(self, sample_rate: float, as_json: bool) -> None:
        self.notes = 0
        self._rate, self._as_json = sample_rate, as_json
        self._shown_at = -1.0
        self._last = ""

    def event(self, event: "Event") -> None:
        from rtmelody.events import NoteOn, note_name

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
        line = f"{bar:20s} {status.level_db:4.0f} dB  {sounding} {self._last:24s} {_losses(status)} "
        click.echo(f"\r{line}", nl=False)

    def end(self, status: "Status") -> None:
        if not self._as_json:
            click.echo(f"\nListened for {status.seconds:.0f} s, {self.notes} notes, {_losses(status)}.")


def _losses(status: "Status") -> str:
    return f"{status.overflows} overflows, {status.xruns} xruns"


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
