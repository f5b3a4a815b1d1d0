"""`rtmelody listen`: microphone to virtual MIDI port."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rtmelody.cli.options import Duration, config_option, index_or_name, overridden, until_signal

if TYPE_CHECKING:
    from rtmelody.engine.board import Snapshot
    from rtmelody.events import Told

POLL_S = 0.005
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
@click.option(
    "--record", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER", help="Keep sound and notes there."
)
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
    record: Path | None,
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
    rtmelody listen --record takes           audio.flac, events.jsonl and notes.mid in a folder of takes/

    Connect your synthesizer or DAW to the port. The status line shows level, note, overflows (blocks lost because the
    recognizer was late) and xruns (losses that the device reports); both should stay at 0.
    """  # noqa: D301 (click wants the character itself)
    from rtmelody.config import load_config
    from rtmelody.engine.engine import Engine

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
    stopping, display = until_signal(), _Display(as_json)
    with Engine(config, midi=not no_midi, record=record) as engine:
        while not stopping.wait(POLL_S):
            for line in engine.tend():
                display.fault(line)
            for event in engine.events():
                display.event(event)
            display.status(engine.snapshot)
    for event in engine.events():
        display.event(event)
    display.end(engine.snapshot)


class _Display:
    """A status line on a terminal, or events as JSON lines."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._shown_at = 0.0
        self._last = ""

    def event(self, event: "Told") -> None:
        import msgspec

        from rtmelody.events import ToldOn, note_name

        if self._as_json:
            click.echo(msgspec.json.encode(event))
        elif isinstance(event, ToldOn):
            self._last = f"{note_name(event.midi):4s} {event.cents:+5.0f} cents  {event.confidence:4.0%}"

    def fault(self, line: str) -> None:
        click.echo(f"rtmelody: {line}", err=True)

    def status(self, snapshot: "Snapshot") -> None:
        now = time.monotonic()
        if self._as_json or not sys.stdout.isatty() or now - self._shown_at < REFRESH_S:
            return
        self._shown_at = now
        bar = "█" * max(0, min(20, round((snapshot.level_db + 60) / 3)))
        sounding = "♪" if snapshot.sounding is not None else " "
        line = f"{bar:20s} {snapshot.level_db:4.0f} dB  {sounding} {self._last:24s} {_losses(snapshot)} "
        click.echo(f"\r{line}", nl=False)

    def end(self, snapshot: "Snapshot") -> None:
        if not self._as_json:
            click.echo(f"\nListened for {snapshot.seconds:.0f} s, {snapshot.notes} notes, {_losses(snapshot)}.")


def _losses(snapshot: "Snapshot") -> str:
    losses = f"{snapshot.overflows} overflows, {snapshot.xruns} xruns, {snapshot.faults} faults"
    if snapshot.unrecorded:
        losses += f", {snapshot.unrecorded} blocks not recorded"
    return losses + (", MIDI stalled" if snapshot.stalled else "")
