"""Options that several verbs share."""

from pathlib import Path

import click

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Settings in YAML; `rtmelody config` shows them all.",
)
