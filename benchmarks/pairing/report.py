"""What docs/pairing.md and its plot show of results/pairing.json."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.report import BEGIN, END, RESULTS, ROOT

RESULT = RESULTS / "pairing.json"
DOCUMENT = ROOT / "docs" / "pairing.md"
PICTURE = ROOT / "docs" / "pairing.png"
LEVELS_DB = (20, 10, 5, 0)
LONGEST = "256 bits"
TARGETS = {20: 0.999, 10: 0.99, 5: 0.97, 0: 0.9}


def load(path: Path = RESULT) -> dict[str, Any]:
    """The result."""
    return json.loads(path.read_text(encoding="utf-8"))


def write(result: dict[str, Any]) -> None:
    """The table between the marks of the document, and the plot."""
    document = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(f"{document.split(BEGIN)[0]}{BEGIN}\n{table(result)}{END}{document.split(END)[1]}", encoding="utf-8")
    draw(result)


def table(result: dict[str, Any]) -> str:
    """The figures in Markdown."""
    pairing, attacks = result["pairing"], result["attack"]
    lines = [
        "| first try succeeds | " + " | ".join(f"voices at {level} dB" for level in LEVELS_DB) + " | seconds |",
        "| --- " * (len(LEVELS_DB) + 2) + "|",
        _row("over a data channel", pairing),
        _row("by sound alone", result["spoken"]),
        *(_row(f"one way: {name}, rtmelody", rates) for name, rates in result["one way"].items()),
        *(_row(f"one way: {name}, ggwave", rates) for name, rates in result["ggwave"].items() if name != "absent"),
    ]
    short, full = attacks["short"], attacks["full"]
    low, high = short["interval_99"]
    runs = pairing[str(LEVELS_DB[0])]["runs"]
    overlaid = ", ".join(f"{100 * one['rate']:.0f} % at {int(level):+d} dB" for level, one in result["overlay"].items())
    words = (
        f"{runs} pairings at each level; ± is half the 95 % interval. The man in the middle against a string of 4 notes: "
        f"{short['successes']} of {short['runs']} ({low:.5f} … {high:.5f} at 99 %; theory {short['theory']:.5f}); against "
        f"all 12: {full['successes']} of {full['runs']}. A false melody played over a genuine one, tone upon tone, deceives "
        f"one device in {overlaid}. "
        f"Measured at commit {result['about']['commit']} on {result['about']['date']}."
    )
    return "\n".join((*lines, "", words, ""))


def draw(result: dict[str, Any]) -> None:
    """Success against noise."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    curves = {"pairing, first try": result["pairing"]}
    curves |= {f"{name}, one way": rates for name, rates in result["one way"].items()}
    curves |= {f"{name}, one way, ggwave": rates for name, rates in result["ggwave"].items() if name.startswith(LONGEST)}
    for name, rates in curves.items():
        style = "--" if "ggwave" in name else "-"
        axes.plot(LEVELS_DB, [100 * rates[str(level)]["rate"] for level in LEVELS_DB], style, marker="o", label=name)
    axes.plot(LEVELS_DB, [100 * TARGETS[level] for level in LEVELS_DB], "k:", label="pairing, what is aimed at")
    axes.set(
        xlabel="music above the voices [dB]", ylabel="succeeds [%]", xticks=LEVELS_DB, title="Pairing in rooms among voices"
    )
    axes.invert_xaxis()
    axes.legend(fontsize="small")
    figure.savefig(PICTURE, dpi=110)


def _row(name: str, rates: dict[str, Any]) -> str:
    cells = [f"{_percent(rates[str(level)])}" if str(level) in rates else "" for level in LEVELS_DB]
    return f"| {name} | {' | '.join(cells)} | {np.median([rate['seconds'] for rate in rates.values()]):.1f} |"


def _percent(rate: dict[str, Any]) -> str:
    low, high = rate["interval_95"]
    return f"{100 * rate['rate']:.1f} % ± {50 * (high - low):.1f}"
