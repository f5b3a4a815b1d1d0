"""`rtmelody transcribe`: recordings to note files, through the same recognizer as the live path."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtmelody.cli.options import config_option, recognizer_for
from rtmelody.errors import AudioFileError, OutputError

if TYPE_CHECKING:
    from rtmelody.config import Config
    from rtmelody.core.network import Network

STDIO = Path("-")
FORMATS = ("mid", "jsonl", "csv")


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True), metavar="FILE…")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, allow_dash=True), help="File, folder, or - for standard output."
)
@click.option("--format", "kind", type=click.Choice(FORMATS), help="Default: the suffix of --output, else mid.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), metavar="PNG", help="Also draw it (one FILE only).")
@config_option
@click.option("-q", "--quiet", is_flag=True, help="No progress, no summary.")
def transcribe(
    files: tuple[Path, ...], output: Path | None, kind: str | None, plot: Path | None, config_file: Path | None, quiet: bool
) -> None:
    """Write the notes of WAV, FLAC, OGG or MP3 files (8 to 192 kHz, any channels; - is standard input).

    \b
    rtmelody transcribe tune.wav                        writes tune.mid, unless there is one
    rtmelody transcribe tune.wav -o - --format jsonl    prints the notes
    rtmelody transcribe *.flac -o notes/ --format csv   one table a file

    Each note has onset and offset (s), MIDI number, velocity, confidence (0 to 1), deviation in cents, and the time at which it
    would have been announced live. A bad file is reported and does not stop the rest.
    """  # noqa: D301 (click wants the character itself)
    from rtmelody.config import load_config
    from rtmelody.core.network import Network, model_folder
    from rtmelody.io import pictures
    from rtmelody.io.files import check_place, protect, refuse_existing

    if plot and len(files) > 1:
        raise click.UsageError("--plot draws one file: give one FILE.")
    kind = _kind_of(output, kind)
    targets = _targets(files, output, kind)
    written = [target for target in [*targets, *([plot] if plot else [])] if target != STDIO]
    if len(set(written)) < len(written):
        raise OutputError("Two results would be written to the same file: give them different names or folders.")
    protect(files, written)
    for target in written:
        check_place(target)
    if plot:
        pictures.check()
    for target in targets if output is None else ():
        refuse_existing(target)
    config = load_config(config_file)
    network = Network(model_folder(config.model))
    failures = []
    for file, target in zip(files, targets, strict=True):
        try:
            _transcribe_one(file, target, kind, plot, config, network, quiet)
        except (AudioFileError, OutputError) as error:
            failures.append(error)
            click.echo(f"rtmelody: {error}", err=True)
    if failures:
        sys.exit(failures[0].exit_code)


def _transcribe_one(
    file: Path, target: Path, kind: str, plot: Path | None, config: "Config", network: "Network", quiet: bool
) -> None:
    """One recording, from file to file."""
    import numpy as np

    from rtmelody.events import notes
    from rtmelody.io import files, pictures

    with files.open_audio(file) as audio, _progress(file, audio.frames, quiet) as advance:
        recognizer = recognizer_for(audio.rate, config, network)
        events, beginning = [], []
        for block in audio.blocks():
            events += recognizer.push(block)
            if plot and recognizer.at < pictures.WIDEST_S * audio.rate:
                beginning.append(block)
            advance(len(block))
        events += recognizer.flush()
        found = notes(events, audio.rate)
    content: bytes = files.FORMATS[kind](found)
    if target == STDIO:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    else:
        files.write_whole(target, content)
        if not quiet:
            click.echo(f"{file}: {len(found)} notes -> {target}", err=True)
    if plot:
        drawing = pictures.picture(np.concatenate(beginning), audio.rate, found, file.name, config.tuning.a4_hz)
        files.write_whole(plot, drawing)


def _kind_of(output: Path | None, kind: str | None) -> str:
    """The format that is asked for, by name or by the output's suffix."""
    suffix = output.suffix.lower().removeprefix(".") if output and not output.is_dir() else ""
    if suffix in FORMATS and kind not in (None, suffix):
        raise click.UsageError(f"{output} would hold {kind}: give it that suffix, or another --format.")
    if suffix and not kind and suffix not in FORMATS:
        raise click.UsageError(f"What is a .{suffix} file of notes? Give --format, or a suffix of {', '.join(FORMATS)}.")
    return kind or suffix or "mid"


def _targets(files: tuple[Path, ...], output: Path | None, kind: str) -> list[Path]:
    """Where each file's notes go."""
    from rtmelody.io.files import make_folder

    if output == STDIO:
        if kind == "mid" and len(files) > 1:
            raise OutputError("Several MIDI files cannot share standard output: give a folder with -o.")
        return [STDIO] * len(files)
    if output and output.suffix and not output.is_dir():
        if len(files) > 1:
            raise OutputError(f"{output} is one file for the notes of {len(files)}: give a folder.")
        return [output]
    folder = output or Path()
    make_folder(folder)
    return [folder / f"{'stdin' if file == STDIO else file.stem}.{kind}" for file in files]


@contextmanager
def _progress(file: Path, total: int, quiet: bool) -> Iterator[Any]:
    """A function that advances a bar, where somebody watches."""
    if quiet or not sys.stderr.isatty():
        yield lambda _samples: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(escape(file.name), total=total)
        yield lambda samples: bars.advance(task, samples)
