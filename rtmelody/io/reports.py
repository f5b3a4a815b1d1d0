"""A performance's report as a page that needs nothing else: figures, pictures, every note."""

import io
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import msgspec

from rtmelody.core.assessment import Assessment, Bar, Verdict
from rtmelody.events import note_name
from rtmelody.io import pictures
from rtmelody.io.files import presentable

COLOURS = {"right": "#2e7d32", "wrong": "#c62828", "missed": "#9e9e9e", "extra": "#ef6c00"}
PAGE = files("rtmelody").joinpath("data", "report.html")


def check(path: Path) -> None:
    """Raises OutputError, before long work, if `content` could not be made after it."""
    if not _is_json(path):
        pictures.check()


def content(path: Path, title: str, found: Assessment) -> bytes:
    """The report as the suffix of its file asks for: JSON, or else HTML.

    Raises OutputError for HTML without matplotlib.
    """
    return msgspec.json.encode(found) if _is_json(path) else page(title, found)


def _is_json(path: Path) -> bool:
    return path.suffix.lower() == ".json"


def page(title: str, found: Assessment) -> bytes:
    """The report as HTML.

    Raises OutputError without matplotlib.
    """
    jumps = f"; the player moved elsewhere {found.jumps} times" if found.jumps else ""
    sums = (f'<li class="{kind}"><b>{getattr(found, kind)}</b>{kind}</li>' for kind in COLOURS)
    faults = (_fault(verdict) for verdict in found.verdicts if verdict.kind != "right")
    return (
        Template(PAGE.read_text(encoding="utf-8"))
        .substitute(
            title=escape(presentable(title)),
            words=f"{found.reached} of {found.notes} notes of the score were reached{jumps}.",
            sums="".join(sums),
            roll=_roll(found.verdicts),
            tempo=_tempo(found.bars),
            bars="".join(_bar(bar) for bar in found.bars),
            faults="".join(faults) or '<tr><td colspan="5">Nothing.</td></tr>',
        )
        .encode()
    )


def _bar(bar: Bar) -> str:
    tempo = "" if bar.tempo is None else f"{100 * bar.tempo:.0f} %"
    late = "" if bar.late is None else f"{1000 * bar.late:.0f} ms"
    cents = "" if bar.cents is None else f"{bar.cents:+.0f}"
    return _row(bar.number, bar.right, bar.wrong or "", bar.missed or "", bar.extra or "", tempo, late, cents)


def _fault(verdict: Verdict) -> str:
    at = "" if verdict.onset is None else f"{verdict.onset:.2f} s"
    names = ("" if pitch is None else note_name(pitch) for pitch in (verdict.expected, verdict.played))
    return _row(at, "" if verdict.bar is None else verdict.bar, verdict.kind, *names)


def _row(*cells: object) -> str:
    return f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in cells)}</tr>"


def _roll(verdicts: Sequence[Verdict]) -> str:
    """Every note in the order of the performance: expected ones as rings, played ones as dots."""
    figure, axes = _figure(3.6, "pitch (MIDI number)")
    for kind, colour in COLOURS.items():
        these = [(place, one) for place, one in enumerate(verdicts) if one.kind == kind]
        played = [(place, one.played) for place, one in these if one.played is not None]
        expected = [(place, one.expected) for place, one in these if one.expected is not None and kind != "right"]
        axes.scatter(*zip(*expected, strict=True), s=50, facecolors="none", edgecolors="#555") if expected else None
        axes.scatter(*zip(*played, strict=True), s=22, color=colour, label=kind) if played else None
    axes.set_xlabel("note")
    axes.legend(loc="upper right", ncols=4, fontsize="small") if verdicts else None
    return _svg(figure)


def _tempo(bars: Sequence[Bar]) -> str:
    """A line over the bars."""
    figure, axes = _figure(2.2, "of the score's (%)")
    known = [(bar.number, 100 * bar.tempo) for bar in bars if bar.tempo is not None]
    axes.plot(*zip(*known, strict=True), marker=".") if known else None
    axes.axhline(100, color="#bbb", lw=0.8)
    axes.set_xlabel("bar")
    return _svg(figure)


def _figure(height: float, label: str) -> tuple[Any, Any]:
    pictures.check()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, height), layout="constrained")
    axes = figure.subplots()
    axes.set_ylabel(label)
    return figure, axes


def _svg(figure: Any) -> str:
    """Inline, without the head of a file of its own."""
    content = io.StringIO()
    figure.savefig(content, format="svg")
    return content.getvalue()[content.getvalue().index("<svg") :]
