"""The command `rtmelody`: one verb a file, loaded only when it is called."""

import os
import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NoReturn

import click

from rtmelody.errors import OutputError, RtmelodyError

VERBS = {
    "demo": "Stream a bundled recording through the live path; needs no sound card.",
    "transcribe": "Write the notes of recordings as .mid, .jsonl or .csv.",
    "listen": "Listen to a microphone and send MIDI notes while they sound.",
    "report": "Compare a recording with its score: right, wrong, missed and extra notes, tempo, tuning.",
    "monitor": "Listen, and show it on a web page; follow a score; serve transcriptions.",
    "pair": "Agree on a key with another device: each plays a melody that the other recognizes.",
    "send": "Pair with a device in the room and send it standard input.",
    "recv": "Wait for such a device and write what it sends.",
    "devices": "List the audio inputs.",
    "check": "Say what is wrong with the input, and what to set.",
    "latency": "Time the real chain: a tone played, heard, recognized and sent.",
    "config": "Show the effective configuration, or check a file.",
    "train": "Train a model from soundfonts and folders of sounds.",
}


class Verbs(click.Group):
    """Finds each verb in the module of its name, so that `--help` imports none of them."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """In the order of the table."""
        return list(VERBS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """The verb's command."""
        if name not in VERBS:
            return None
        command: click.Command = getattr(import_module(f"rtmelody.cli.{name}"), name)
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """The table itself."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rtmelody")
def cli() -> None:
    """Recognize melodies in real time: microphone in, MIDI notes out, while the note still sounds.

    \b
    rtmelody demo                     see it work
    rtmelody transcribe tune.wav      tune.mid
    rtmelody listen                   microphone -> virtual MIDI port

    Every verb explains itself: rtmelody VERB --help. Errors exit with 2 (usage), 3 (configuration), 4 (model), 5 (audio file),
    6 (audio device), 7 (MIDI), 8 (output), 9 (training), 10 (score), 11 (monitor), 20 to 26 (pairing: see its --help).
    """  # noqa: D301 (click wants the character itself)


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; an error of ours becomes one sentence and its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a note sign shows something else
    try:
        cli(arguments)
    except RtmelodyError as error:
        click.echo(f"rtmelody: {error}", err=True)
        _leave(error.exit_code)
    except OSError as error:  # a full disk behind standard output, say
        click.echo(f"rtmelody: {error.strerror or error}: {error.filename or 'standard output'}.", err=True)
        _leave(OutputError.exit_code)
    except SystemExit as leaving:
        _leave(leaving.code)


def _leave(code: Any) -> NoReturn:
    """Exit, even where PortAudio would keep this process for ever because its server has died."""
    audio = sys.modules.get("rtmelody.io.audio")
    if audio and audio.hung:
        sys.stdout.flush()
        os._exit(code if isinstance(code, int) else bool(code))
    sys.exit(code)
