"""`rtmelody listen`: microphone to virtual MIDI port."""

import sys
import time
from contextlib import closing
from pathlib import Path

import click

from rtmelody.cli.options import (
    DeviceLatency,
    Duration,
    at_speed,
    channel_option,
    config_option,
    index_or_name,
    overridden,
    speed_option,
    until_signal,
)

POLL_S, VIEW_S = 0.005, 0.02  # for programs, which wait for events; for people


@click.command()
@click.option(
    "-d",
    "--device",
    help="Input: an index, a name or a part of a name (see `rtmelody devices`), or - for mono samples on standard input.",
)
@click.option("--rate", type=int, help="Sample rate in Hz; default: the device's own, of a pipe 48000.")
@channel_option
@click.option("--block-size", type=int, help="Samples a block; 0 leaves it to the device.")
@click.option("--latency", type=DeviceLatency(), metavar="low|high|TIME", help="What to ask of the device (10ms, 0.01).")
@click.option("--port", help="Name of the virtual MIDI port.")
@click.option("--to", "also_to", multiple=True, help="Send to this existing MIDI port too (a part of its name); repeatable.")
@click.option(
    "--transpose", type=int, help="Semitones by which what is sent is moved; --json and --record keep what was played."
)
@click.option("--scale", help="Move notes to a scale: 'C major', 'F# minor', 'A minor pentatonic' …")
@click.option("--fixed-latency", type=Duration(), help="Send each note so long after its estimated onset (60ms, 0.06).")
@click.option(
    "--record", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER", help="Keep sound and notes there."
)
@speed_option
@click.option("--bend", type=click.Choice(["pitch", "mpe"]), help="Send what the player bends as pitch bend, or as MPE.")
@click.option("--follow", is_flag=True, default=None, help="Tell cents and bends from the player's own tuning.")
@click.option(
    "--pcm", type=click.Choice(["s16le", "s24le", "s32le", "f32le"]), help="Format of (mono) samples on standard input."
)
@click.option("--osc", metavar="HOST:PORT", help="Send OSC messages there too (/rtmelody/on, /rtmelody/off).")
@click.option("--no-midi", is_flag=True, help="Open no MIDI port.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object an event instead of the view.")
@click.option("--provisional", is_flag=True, help="With --json: also tell of notes before they are certain.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but faults, and events with --json.")
@config_option
def listen(
    device: str | None,
    rate: int | None,
    channel: int | None,
    block_size: int | None,
    latency: str | float | None,
    port: str | None,
    also_to: tuple[str, ...],
    transpose: int | None,
    scale: str | None,
    fixed_latency: float | None,
    record: Path | None,
    speed: str | None,
    bend: str | None,
    follow: bool | None,
    pcm: str | None,
    osc: str | None,
    no_midi: bool,
    as_json: bool,
    provisional: bool,
    quiet: bool,
    config_file: Path | None,
) -> None:
    """Listen to an audio input and play what it hears on a virtual MIDI port, until Ctrl-C.

    \b
    rtmelody listen                          the default input -> port "rtmelody"
    rtmelody listen --device Scarlett        the first input whose name has that in it
    rtmelody listen --fixed-latency 50ms     every note 50 ms after its estimated onset
    rtmelody listen --no-midi --json         events for another program
    rtmelody listen --bend mpe --follow      with vibrato and slides, in the player's tuning
    arecord -f S16_LE -r 48000 | rtmelody listen --device -      samples from another program
    rtmelody listen --record takes           audio.flac, events.jsonl and notes.mid in a folder of takes/

    Connect your synthesizer or DAW to the port. On a terminal a view shows tuner, level, latency, overflows (blocks lost
    because the recognizer was late), xruns (losses that the device reports) and faults (times that the input was lost and
    opened again); all three should stay at 0. Keys: p panic, m mute, up and down a semitone, < and > an octave, [ and ]
    the threshold, s the speed, q quit.
    """  # noqa: D301 (click wants the character itself)
    from rtmelody.cli.stage import Controls, Lines, Terminal, keyboard
    from rtmelody.config import load_config
    from rtmelody.engine.engine import Engine

    if provisional and not as_json:
        raise click.UsageError("--provisional is for programs: give --json too.")
    if no_midi and (port or also_to or bend):
        raise click.UsageError("--no-midi opens no port: leave out --port, --to and --bend.")
    config = overridden(
        load_config(config_file),
        audio={
            "device": index_or_name(device),
            "sample_rate": rate,
            "channel": channel,
            "block_size": block_size,
            "latency": latency,
            "pcm": pcm,
        },
        tuning={"follow": follow},
        tracker=at_speed(speed),
        midi={
            "port": port,
            "also_to": also_to or None,
            "transpose": transpose,
            "scale": scale,
            "fixed_latency_s": fixed_latency,
            "bend": bend,
            "osc": osc,
        },
    )
    if pcm and config.audio.device != "-":
        raise click.UsageError("--pcm is for samples on standard input: give --device - too.")
    stopping = until_signal()
    pause_s = POLL_S if as_json else VIEW_S
    with Engine(config, midi=not no_midi, record=record, provisional=provisional) as engine, keyboard() as typed:
        controls = Controls(engine, config, stopping)
        display = Terminal(controls) if sys.stdout and sys.stdout.isatty() and not (as_json or quiet) else Lines(as_json, quiet)
        with closing(display):
            while not (stopping.is_set() or engine.ended):
                time.sleep(pause_s)  # not `stopping.wait`: it holds a lock, for which a signal's handler might wait for ever
                for line in engine.tend():
                    display.fault(line)
                for event in engine.events():
                    display.event(event)
                controls.press(typed())
                display.show(engine.snapshot)
    for event in engine.events():
        display.event(event)
    display.end(engine.snapshot)
