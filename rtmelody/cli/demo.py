"""`rtmelody demo`: the bundled recording through the live path, at the pace of the clock."""

from pathlib import Path

import click

from rtmelody.cli.options import Within, config_option


@click.command()
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Folder for demo.mid and demo.png."
)
@click.option("--pace", type=Within(0.1, 20.0), default=1.0, help="Times real time.")
@config_option
def demo(output: Path, pace: float, config_file: Path | None) -> None:
    """Play a tune on real sampled instruments through the live path, and show each note as it is recognized.

    Leaves demo.mid and demo.png (what was heard, the notes, and when each was announced). Needs no sound card.
    """
    from importlib import resources

    from rtmelody.config import load_config
    from rtmelody.core.recognizer import Recognizer
    from rtmelody.events import Event, NoteOn, note_name, notes
    from rtmelody.io import pictures
    from rtmelody.io.files import make_folder, read_audio, to_midi, write_whole
    from rtmelody.live import Playback, run
    from rtmelody.timebase import seconds

    make_folder(output)
    pictures.check()
    config = load_config(config_file)
    samples, rate = read_audio(Path(str(resources.files("rtmelody") / "data" / "demo.ogg")))
    recognizer = Recognizer(rate, config)
    events: list[Event] = []

    def show(event: Event) -> None:
        events.append(event)
        if isinstance(event, NoteOn):
            late = 1000 * seconds(event.at - event.onset, rate)
            bar = " " * max(0, event.pitch - 40) + "●"
            click.echo(
                f"{seconds(event.at, rate):6.2f} s  {note_name(event.pitch):4s} {event.cents:+4.0f} cents  "
                f"velocity {event.velocity:3d}  confidence {event.confidence:4.0%}  {late:3.0f} ms after its onset {bar}"
            )

    status = run(Playback(samples, rate, pace=pace), recognizer, show)
    found = notes(events, rate)
    write_whole(output / "demo.mid", to_midi(found))
    drawing = pictures.picture(samples, rate, found, "rtmelody demo", config.tuning.a4_hz)
    write_whole(output / "demo.png", drawing)
    click.echo(
        f"{len(found)} notes in {status.seconds:.1f} s, {status.overflows} overflows; see {output}/demo.mid and demo.png"
    )
