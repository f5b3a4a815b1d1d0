"""`rtmelody devices`: what `listen` can listen to."""

from pathlib import Path

import click

from rtmelody.cli.options import config_option


@click.command()
@click.option("--outputs", is_flag=True, help="List the outputs instead, which `pair` and `latency` play through.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a device.")
@config_option
def devices(outputs: bool, as_json: bool, config_file: Path | None) -> None:
    """List the audio inputs; the one that `listen` would take is marked with *.

    Give `listen --device` an index, a name or a part of a name.
    """
    import json
    from contextlib import suppress
    from dataclasses import asdict

    from rtmelody.config import load_config
    from rtmelody.errors import AudioDeviceError
    from rtmelody.io import audio

    settings = load_config(config_file).audio
    direction: audio.Direction = "output" if outputs else "input"
    found = audio.devices(direction)
    chosen = None
    with suppress(AudioDeviceError):  # the one that is named may be unplugged: this shows what there is instead
        chosen = audio.resolved(settings.output_device if outputs else settings.device, direction)
    if not found and not as_json:
        click.echo(f"No audio {direction} was found: connect one, or try `rtmelody demo`, which needs none.")
    for device in found:
        if as_json:
            click.echo(json.dumps(asdict(device) | {"chosen": device.index == chosen}))
        else:
            mark = "*" if device.index == chosen else " "
            about = f"{device.host_api}, {device.channels} {'out' if outputs else 'in'}, {device.sample_rate:g} Hz"
            click.echo(f"{mark}{device.index:3d}  {device.name}  [{about}]")
