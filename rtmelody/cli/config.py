"""`rtmelody config`: what is in force, or what is wrong with a file."""

from pathlib import Path

import click

from rtmelody.cli.options import config_option


@click.command()
@config_option
@click.option("--check", is_flag=True, help="Only say whether the file is valid.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of YAML.")
def config(config_file: Path | None, check: bool, as_json: bool) -> None:
    """Show every setting with the value in force: the defaults, overridden by --config FILE.

    \b
    rtmelody config > mine.yaml             start a file of your own
    rtmelody config --config mine.yaml --check
    """  # noqa: D301 (click wants the character itself)
    import json

    from rtmelody.config import load_config, to_dict, to_yaml

    effective = load_config(config_file)
    if check:
        click.echo(f"{config_file or 'The default configuration'} is valid.")
    else:
        click.echo(json.dumps(to_dict(effective)) if as_json else to_yaml(effective), nl=as_json)
