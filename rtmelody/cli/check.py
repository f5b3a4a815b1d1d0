"""`rtmelody check`: what is wrong with the input, and what to set."""

import math
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rtmelody.cli.options import Within, channel_option, config_option, device_option, index_or_name, overridden

if TYPE_CHECKING:
    from rtmelody.config import Config
    from rtmelody.core.checkup import Checkup


@click.command()
@device_option
@channel_option
@click.option("--seconds", type=Within(2.0, 60.0), default=10.0, show_default=True, help="How long to listen.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--write", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write what to set to this YAML file."
)
@config_option
def check(
    device: str | None, channel: int | None, seconds: float, as_json: bool, write: Path | None, config_file: Path | None
) -> None:
    """Listen for ten seconds while you play, then say: level, noise floor, clipping, hum, tuning, and what to change.

    \b
    rtmelody check --device Scarlett                     what is wrong
    rtmelody check --config my.yaml --write my.yaml      and set threshold and tuning

    Leave a second or two without a note: noise is measured there. What is written has all settings, but no comments.
    """  # noqa: D301 (click wants the character itself)
    from dataclasses import asdict

    import msgspec

    from rtmelody.config import load_config
    from rtmelody.io.files import check_place

    if write:
        check_place(write)
    config = overridden(load_config(config_file), audio={"device": index_or_name(device), "channel": channel})
    still = overridden(config, tuning={"follow": False})  # deviations are to be measured, not followed
    found, losses = _listen(still, seconds, as_json)
    if as_json:
        click.echo(msgspec.json.encode(asdict(found) | {"losses": losses, "advice": found.advice()}))
    else:
        _print(found, losses)
    if write:
        _write(write, config, found)


def _listen(config: "Config", seconds: float, quiet: bool) -> tuple["Checkup", int]:
    """What was found, and how often samples were lost."""
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console
    from rich.progress import Progress

    from rtmelody.core.checkup import examine, settled
    from rtmelody.core.recognizer import Recognizer
    from rtmelody.errors import AudioDeviceError
    from rtmelody.events import Event, notes
    from rtmelody.io.audio import Microphone
    from rtmelody.live import Status, run

    microphone = Microphone(config.audio)
    rate, stopping = microphone.sample_rate, threading.Event()
    heard: list[NDArray[np.float32]] = []
    events: list[Event] = []
    levels: list[tuple[float, float]] = []
    with Progress(console=Console(stderr=True), disable=quiet, transient=True) as progress:
        task = progress.add_task("Play or sing, and leave a pause", total=seconds)

        def show(status: Status) -> None:
            progress.update(task, completed=status.seconds)
            levels.append((status.seconds, status.level_db))
            if status.seconds >= seconds:
                stopping.set()

        try:
            run(microphone, Recognizer(rate, config), events.append, show, stopping, on_samples=heard.append, mute_s=math.inf)
        except AudioDeviceError as fault:  # what was heard before it is worth a look
            if not heard:
                raise
            click.echo(f"rtmelody: {fault}", err=True)
        finally:
            microphone.stop()
    if not heard:
        raise AudioDeviceError("Nothing was heard before the end: listen for longer.")
    samples, a4_hz = np.concatenate(heard), config.tuning.a4_hz
    found = examine(samples, rate, settled(samples, rate, notes(events, rate), a4_hz), levels, a4_hz)
    return found, microphone.ring.overflows + microphone.xruns


def _print(found: "Checkup", losses: int) -> None:
    tuning = "-" if found.cents is None else f"{found.cents:+.0f} cents (A4 = {found.a4_hz:.1f} Hz)"
    threshold = "unknown: there was no pause, or no sound" if found.gate_db is None else f"tracker.gate_db: {found.gate_db:.0f}"
    for name, value in (
        ("loudest", f"{found.peak_db:.0f} dB"),
        ("noise floor", f"{found.floor_db:.0f} dB"),
        ("clipped samples", f"{found.clipped}"),
        ("hum", f"{found.hum_hz:.0f} Hz" if found.hum_hz else "none"),
        ("notes", f"{found.notes}"),
        ("tuning", tuning),
        ("threshold", threshold),
        ("losses", f"{losses}" + (" (try a larger audio.block_size)" if losses else "")),
    ):
        click.echo(f"{name:16s} {value}")
    for sentence in found.advice() or ["All is well."]:
        click.echo(sentence)


def _write(path: Path, config: "Config", found: "Checkup") -> None:
    """The configuration with the threshold and the tuning, as far as they are known."""
    from rtmelody.config import to_yaml
    from rtmelody.io.files import write_whole

    tuned = {} if found.a4_hz is None else {"a4_hz": round(found.a4_hz, 1)}
    gate = {} if found.gate_db is None else {"gate_db": round(max(-140.0, min(20.0, found.gate_db)), 1)}
    changed = overridden(config, tracker=gate, tuning=tuned)
    write_whole(path, to_yaml(changed).encode())
    click.echo(f"-> {path}", err=True)
