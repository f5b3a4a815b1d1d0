"""`rtmelody report`: a recording against its score."""

from pathlib import Path

import click

from rtmelody.cli.options import config_option, recognizer_for


@click.command()
@click.argument("recording", type=click.Path(path_type=Path, allow_dash=True), metavar="RECORDING")
@click.option(
    "--score", required=True, type=click.Path(path_type=Path, dir_okay=False), help="MIDI, MusicXML or ABC, one melody."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="HTML, or .json; default: RECORDING's name and .html.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object instead.")
@config_option
def report(recording: Path, score: Path, output: Path | None, as_json: bool, config_file: Path | None) -> None:
    """Say what was right, wrong, missed and extra in a performance, how steady its tempo was, and how well in tune.

    \b
    rtmelody report take.flac --score tune.mid                 take.html, unless there is one
    rtmelody report take.flac --score tune.musicxml --json     for programs

    Any tempo will do, and it may change; passages may be played again, left out, or begun anew.
    """  # noqa: D301 (click wants the character itself)
    import msgspec

    from rtmelody.config import load_config
    from rtmelody.core.assessment import KINDS, assess
    from rtmelody.events import notes
    from rtmelody.io.files import check_place, open_audio, protect, refuse_existing, write_whole
    from rtmelody.io.reports import check, content
    from rtmelody.io.scores import read_score

    if as_json and output:
        raise click.UsageError("--json is for standard output: give it alone, or -o FILE.json alone.")
    target = output or Path(f"{'report' if str(recording) == '-' else recording.stem}.html")
    protect([recording, score], [] if as_json else [target])
    if not as_json:
        check_place(target)
        check(target)
    if not (as_json or output):
        refuse_existing(target)
    expected = read_score(score)
    with open_audio(recording) as audio:
        recognizer = recognizer_for(audio.rate, load_config(config_file))
        events = [event for block in audio.blocks() for event in recognizer.push(block)]
        played = notes(events + recognizer.flush(), audio.rate)
    found = assess(expected, played)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    write_whole(target, content(target, f"{recording.stem}: {score.stem}", found))
    counts = ", ".join(f"{getattr(found, kind)} {kind}" for kind in KINDS)
    click.echo(f"{counts}; {found.reached} of {found.notes} notes reached -> {target}", err=True)
