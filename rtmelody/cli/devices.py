"""`rtmelody devices`: what `listen` can listen to."""

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a device.")
def devices(as_json: bool) -> None:
    """List the audio inputs; the default one is marked with *.

    Give `listen --device` an index, a name or a part of a name.
    """
    import json
    from dataclasses import asdict

    from rtmelody.io.audio import input_devices

    found = input_devices()
    if not found and not as_json:
        click.echo("No audio input was found: connect one, or try `rtmelody demo`, which needs none.")
    for device in found:
        if as_json:
            click.echo(json.dumps(asdict(device)))
        else:
            mark = "*" if device.default else " "
            about = f"{device.host_api}, {device.channels} in, {device.sample_rate:g} Hz"
            click.echo(f"{mark}{device.index:3d}  {device.name}  [{about}]")
