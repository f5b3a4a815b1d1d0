"""The README's figures, drawn from the committed result: `python -m benchmarks` writes them, a test holds them equal."""

import re
from typing import Any

BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
COLUMNS = {"f1": "F1", "precision": "precision", "recall": "recall", "exact": "whole melodies"}
LATENCIES = {"latency_p50_ms": "p50", "latency_p90_ms": "p90"}


def with_figures(readme: str, result: dict[str, Any]) -> str:
    """The README with its figures replaced."""
    section = f"{BEGIN}\n{figures(result)}\n{END}"
    return re.sub(f"{BEGIN}.*{END}", lambda _: section, readme, flags=re.DOTALL)


def figures(result: dict[str, Any]) -> str:
    """Accuracy by condition, cost by runtime, and how exact the cents are."""
    parts = [_accuracy(result["rendered"])]
    if "recordings" in result:
        parts.append("On real recordings, clean (a development set that is not part of this repository):")
        parts.append(_by_group(result["recordings"]))
    parts += [_speed(result), _cents(result), f"Measured at commit {result['about']['commit']} ({result['about']['machine']})."]
    return "\n\n".join(parts)


def _table(rows: list[list[str]]) -> str:
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _row(name: str, summary: dict[str, float]) -> list[str]:
    return [name, *(f"{summary[key]:.2f}" for key in COLUMNS), *(f"{summary[key]:.0f} ms" for key in LATENCIES)]


def _accuracy(rendered: dict[str, Any]) -> str:
    rows = [["", *COLUMNS.values(), *(f"latency {name}" for name in LATENCIES.values())]]
    for condition, groups in rendered.items():
        rows += [
            _row(f"{condition}, {name}", groups[group]) for name, group in (("eight instruments", "all"), ("piano", "piano"))
        ]
    return _table(rows)


def _by_group(table: dict[str, Any]) -> str:
    rows = [["", *COLUMNS.values(), *(f"latency {name}" for name in LATENCIES.values())]]
    return _table(rows + [_row(group, summary) for group, summary in table["clean"].items()])


def _speed(result: dict[str, Any]) -> str:
    rows = [["", "offline, one thread", "live: framing + network + tracker"]]
    for runtime, share in result["paced_percent_of_a_core"].items():
        parts = " + ".join(f"{share[part]:.1f}" for part in ("framing", "network", "tracker"))
        speed = result["offline_times_real_time"][runtime]
        rows.append([runtime, f"{speed:.0f} times real time", f"{parts} = {share['all']:.1f} % of a core"])
    whole = f"The whole live path, with its source and its polling, takes {result['live_percent_of_a_core']:.1f} % of a core."
    return _table(rows) + f"\n\n{whole} `rtmelody --help` answers in {result['help_s']:.2f} s."


def _cents(result: dict[str, Any]) -> str:
    errors = result["cents_error"] | {
        f"{name} (single notes)": error for name, error in result.get("cents_error_sampled", {}).items()
    }
    rows = [["cents at the NoteOn, error", "notes", "median", "p90"]]
    rows += [[name, f"{error['notes']:.0f}", f"{error['median']:.1f}", f"{error['p90']:.1f}"] for name, error in errors.items()]
    return _table(rows)
