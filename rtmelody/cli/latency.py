"""`rtmelody latency`: how long the real chain takes, and where."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rtmelody.cli.options import (
    DeviceLatency,
    at_speed,
    channel_option,
    config_option,
    device_option,
    index_or_name,
    overridden,
    speed_option,
)

if TYPE_CHECKING:
    from rtmelody.loopback import Trial

STAGES = {
    "device": "out and in again: buffers, converters, what is between",
    "hearing": "from the onset to the decision",
    "computing": "from the last sample needed to the event",
    "midi": "from the event to a MIDI input",
}


@click.command()
@device_option
@click.option("-o", "--output", "output_device", help="Output, likewise (see `rtmelody devices --outputs`).")
@channel_option
@click.option("--block-size", type=int, help="Samples a block; 0 leaves it to the device.")
@click.option("--latency", "device_latency", type=DeviceLatency(), metavar="low|high|TIME", help="What to ask of the device.")
@speed_option
@click.option("--tones", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many to play.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, times in ms.")
@config_option
def latency(
    device: str | None,
    output_device: str | None,
    channel: int | None,
    block_size: int | None,
    device_latency: str | float | None,
    speed: str | None,
    tones: int,
    as_json: bool,
    config_file: Path | None,
) -> None:
    """Play tones, hear them, send them as MIDI, and say how long each part takes on this computer.

    \b
    rtmelody latency                                 the default output led to the default input
    rtmelody latency --block-size 64 --speed fast    is it worth it?

    Lead the output to the input first: with a cable from one to the other, by connecting the two in JACK, or by putting the
    microphone before the loudspeaker (then the air counts too, 3 ms a metre). Who plays an instrument feels all but the way
    out: about half of the first row, and the others.
    """  # noqa: D301 (click wants the character itself)
    import json

    from rich.console import Console
    from rich.progress import Progress

    from rtmelody.config import load_config
    from rtmelody.loopback import measure

    config = overridden(
        load_config(config_file),
        audio={
            "device": index_or_name(device),
            "output_device": index_or_name(output_device),
            "channel": channel,
            "block_size": block_size,
            "latency": device_latency,
        },
        tracker=at_speed(speed),
    )
    with Progress(console=Console(stderr=True), disable=as_json, transient=True) as progress:
        task = progress.add_task("Playing", total=tones)
        trials = measure(config, tones, lambda: progress.advance(task))
    if as_json:
        click.echo(json.dumps({"played": tones, "heard": len(trials)} | _budget(trials)))
        return
    click.echo(f"{len(trials)} of {tones} tones came back and were named.")
    click.echo(f"{'':10s} {'median':>8s} {'90 %':>8s}")
    for stage, row in _budget(trials).items():
        click.echo(f"{stage:10s} {row['p50']:5.1f} ms {row['p90']:5.1f} ms   {STAGES[stage]}")
    if not any(trial.midi for trial in trials):
        click.echo("MIDI was not timed: no virtual port can be opened and heard here.")


def _budget(trials: "list[Trial]") -> dict[str, dict[str, float]]:
    """Quantiles in ms of every stage that was timed."""
    import numpy as np

    found = {}
    for stage in STAGES:
        times = [1000 * value for trial in trials if (value := getattr(trial, stage)) is not None]
        if times:
            p50, p90 = np.percentile(times, (50, 90))
            found[stage] = {"p50": round(float(p50), 2), "p90": round(float(p90), 2)}
    return found
