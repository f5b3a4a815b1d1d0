"""A result in words and pictures: the README's figures, docs/benchmarks.md with everything, and two plots.

All of it is drawn from the newest file of benchmarks/results; a test holds README and document equal to it.
"""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compare import HISTOGRAM_MS
from benchmarks.metrics import LIVE_S, REGISTERS
from benchmarks.run import OURS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENT = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
NAMES = {
    OURS: "**rtmelody**", "aubio_yinfast": "aubio yinfast ¹", "aubionotes": "aubionotes ³", "basicpitch": "Basic Pitch ²",
    "pesto_streaming": "PESTO ¹", "pyin": "pYIN ¹ ²", "swiftf0": "SwiftF0 ¹", "swiftf0_notes": "SwiftF0, own notes ²",
    "torchcrepe_tiny": "torchcrepe tiny ¹",
}  # fmt: skip
FOOTNOTES = """¹ gives f0 only: notes by one rule for all (benchmarks/peers/f0_to_notes.py).
² needs the recording, or two seconds of it, before it answers: not live.
³ tells no onset: the moment of its decision counts, so that its latencies end at 100 ms.

Others: rendered alike with another seed; they decided nothing, while the first also chose between rtmelody's models.
Live F1: right pitch, and *emitted* within so many ms of the true onset. Latency: of the notes whose onset was right."""
LIVE_ONLY = "⁴ by emission, within 200 ms (recall) or 100 ms (calibration): what comes later is not right."
STARTED = (
    "⁵ aubio is a program of its own: the memory is that of the process that starts it, and the CPU time has in it what it "
    "takes to write the recording for it."
)
STITCHED = "Stitched: single notes, put in sequence. The others were played so."
Cell = Callable[[dict[str, Any]], str]


def newest() -> Path:
    """The newest result."""
    return max(RESULTS.glob("20*.json"))


def load(path: Path) -> dict[str, Any]:
    """A result."""
    return json.loads(path.read_text(encoding="utf-8"))


def with_figures(readme: str, result: dict[str, Any]) -> str:
    """The README with its figures replaced."""
    section = f"{BEGIN}\n{summary(result)}\n{END}"
    return re.sub(f"{BEGIN}.*{END}", lambda _: section, readme, flags=re.DOTALL)


def summary(result: dict[str, Any]) -> str:
    """What the README shows: everybody on clean melodies and recordings, in noise, and at what cost."""
    noisy = "Live F1 within 100 ms, noise 10 dB below the music:"
    return "\n\n".join([_melodies(result), FOOTNOTES, noisy, _noises(result, " 10 dB"), _live_cost(result), _about(result)])


def document(result: dict[str, Any]) -> str:
    """docs/benchmarks.md: every table."""
    sections = {
        "What everybody hears": _heard(result),
        "Rendered melodies, clean": _melodies(result) + "\n\n" + FOOTNOTES,
        "In noise: live F1 within 100 ms": _noises(result),
        "In noise: onset F1 within 100 ms, whenever it came": _noises(result, figure="f1_onset_100"),
        "Noise alone: false notes a minute": _false_notes(result),
        "Real recordings: live F1 within 100 ms, by instrument": _recordings(result),
        "Real recordings in real noise and measured rooms: F1 within 100 ms": _elsewhere(result),
        "Where notes are lost": _weaknesses(result),
        "rtmelody on the melodies of its card: emitted within 100 ms": _held_out(result),
        "rtmelody by instrument, rendered and clean": _by_group(result, "melodies"),
        "rtmelody by instrument, real recordings": _by_group(result, "recordings"),
        "rtmelody's confidence": _confidence(result),
        "Where the time of a note goes": _budget(result),
        "Cost": f"{_costs(result)}\n\n{STARTED}\n\n{_live_cost(result)}",
        "Scale": _scale(result),
        "Cents at the NoteOn": _cents(result),
    }
    head = "# Benchmarks\n\nWritten by `python -m benchmarks` from the newest file in benchmarks/results. " + _about(result)
    pictures = "![Live F1 against the level of noise](noise.png)\n\n![How soon notes come](latency.png)"
    return "\n\n".join([head, pictures, *(f"## {title}\n\n{body}" for title, body in sections.items() if body)]) + "\n"


def draw(result: dict[str, Any], folder: Path) -> None:
    """noise.png and latency.png."""
    from matplotlib.figure import Figure

    kinds = _noise_levels(result)
    figure = Figure(figsize=(3.2 * len(kinds), 3.4), layout="constrained")
    for axes, (kind, levels) in zip(np.atleast_1d(figure.subplots(1, len(kinds), sharey=True)), kinds.items(), strict=True):
        for name, peer in result["peers"].items():
            values = [peer["tables"]["melodies"][f"{kind} {level} dB"]["all"]["f1_live_100"] for level in levels]
            axes.plot(levels, values, marker="o", linewidth=3 if name == OURS else 1, label=_plain(name))
        axes.set(title=kind, xlabel="music above noise (dB)", ylim=(0, 1), xlim=(max(levels) + 1, min(levels) - 1))
    figure.axes[0].set_ylabel("live F1 within 100 ms")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    figure.savefig(folder / "noise.png", dpi=100)

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots()
    for name, peer in result["peers"].items():
        if sum(peer["latency_histogram"]):
            axes.stairs(
                peer["latency_histogram"], HISTOGRAM_MS, fill=name == OURS, alpha=0.5 if name == OURS else 1, label=_plain(name)
            )
    axes.set(xlabel="emitted after the true onset (ms)", ylabel="notes", title="rendered melodies, clean")
    axes.legend(fontsize=8)
    figure.savefig(folder / "latency.png", dpi=100)


def _heard(result: dict[str, Any]) -> str:
    rows = [("", "notes")]
    for name, conditions in result["peers"][OURS]["tables"].items():
        rows += [(f"{name}, {condition}", f"{groups['all']['notes']:.0f}") for condition, groups in conditions.items()]
    alone = ", ".join(f"{kind} {seconds:.0f} s" for kind, seconds in result["noise_alone_s"].items())
    return f"{_table(rows)}\n\nNoise alone: {alone}."


def _melodies(result: dict[str, Any]) -> str:
    columns: dict[str, Cell] = {
        f"live {1000 * t:.0f} ms": _figure("melodies", "clean", f"f1_live_{1000 * t:.0f}") for t in LIVE_S
    }
    columns |= {
        "onset F1, 50 ms": _figure("melodies", "clean", "f1_onset_50"),
        "whole melodies": _figure("melodies", "clean", "exact"),
        "others, 100 ms": _figure("other melodies", "clean", "f1_live_100"),
        "fast notes": _figure("fast", "clean", "f1_live_100"),
        "latency p50 / p90": lambda peer: _latency(peer["tables"]["melodies"]["clean"]["all"]),
    }
    if "recordings" in result["peers"][OURS]["tables"]:
        columns["real recordings"] = _figure("recordings", "clean", "f1_live_100")
    return _peers(result, columns | {"CPU s / s": lambda peer: f"{peer['cpu_per_s']:.3f}"})


def _noises(result: dict[str, Any], ending: str = "", figure: str = "f1_live_100") -> str:
    conditions = [name for name in result["peers"][OURS]["tables"]["melodies"] if name != "clean" and name.endswith(ending)]
    columns = {name: _figure("melodies", name, figure) for name in conditions}
    return _peers(result, columns)


def _false_notes(result: dict[str, Any]) -> str:
    kinds = result["peers"][OURS]["false_notes_a_minute"]
    return _peers(result, {kind: lambda peer, kind=kind: f"{peer['false_notes_a_minute'][kind]:.1f}" for kind in kinds})


def _recordings(result: dict[str, Any]) -> str:
    groups = result["peers"][OURS]["tables"].get("recordings", {}).get("clean", {})
    if not groups:
        return ""
    counts = _table([("", *groups), ("notes", *(f"{one['notes']:.0f}" for one in groups.values()))])
    columns = {group: _figure("recordings", "clean", "f1_live_100", group) for group in groups}
    return f"{counts}\n\n{STITCHED}\n\n{_peers(result, columns)}"


def _elsewhere(result: dict[str, Any]) -> str:
    """As they are emitted, and by the onsets that are told whenever."""
    conditions = [name for name in result["peers"][OURS]["tables"].get("recordings", {}) if name != "clean"]
    columns = {f"{name}, live": _figure("recordings", name, "f1_live_100") for name in conditions}
    columns |= {f"{name}, by onset": _figure("recordings", name, "f1_onset_100") for name in conditions}
    return _peers(result, columns) if conditions else ""


def _weaknesses(result: dict[str, Any]) -> str:
    figures = {
        "octave errors": "octave_errors", "repeated, recall ⁴": "recall_repeated", "low (< 48), recall ⁴": "recall_low",
        "high (≥ 84), recall ⁴": "recall_high", "onset + offset F1": "f1_onset_offset", "calibration error ⁴": "ece",
    }  # fmt: skip
    columns = {title: _figure("melodies", "clean", name) for title, name in figures.items()}
    for register in REGISTERS:
        columns[f"latency p50, {register}"] = _figure("melodies", "clean", f"latency_p50 {register}", digits=0)
    columns["latency p50 / p90, from C4"] = lambda peer: _latency(peer["tables"]["melodies"]["clean"]["all"], " from C4")
    columns["latency spread"] = _figure("melodies", "clean", "latency_spread", digits=0)
    return f"{_peers(result, columns)}\n\n{LIVE_ONLY}"


def _by_group(result: dict[str, Any], name: str) -> str:
    groups = result["peers"][OURS]["tables"].get(name, {}).get("clean", {})
    titles = ("", "live 50 ms", "live 100 ms", "precision", "recall", "onset + offset", "whole melodies", "latency p50 / p90")
    figures = ("f1_live_50", "f1_live_100", "precision", "recall", "f1_onset_offset", "exact")
    return (
        _table([titles, *((group, *(_number(t, f) for f in figures), _latency(t)) for group, t in groups.items())])
        if groups
        else ""
    )


def _held_out(result: dict[str, Any]) -> str:
    rows = [("", "F1", "precision", "recall", "whole melodies", "latency p50", "latency p90")]
    for condition, groups in result.get("held_out", {}).items():
        for title, one in (("eight instruments", groups["all"]), ("piano", groups["piano"])):
            figures = (f"{one[name]:.2f}" for name in ("f1", "precision", "recall", "exact"))
            rows.append(
                (f"{condition}, {title}", *figures, f"{one['latency_p50_ms']:.0f} ms", f"{one['latency_p90_ms']:.0f} ms")
            )
    return _table(rows) if len(rows) > 1 else ""


def _confidence(result: dict[str, Any]) -> str:
    """Of notes at 0.9, nine in ten should be right, in every noise."""
    rows = [("", "precision", "calibration error")]
    for name, conditions in result["peers"][OURS]["tables"].items():
        for condition, groups in conditions.items():
            rows.append((f"{name}, {condition}", _number(groups["all"], "precision"), _number(groups["all"], "ece")))
    return _table(rows)


def _budget(result: dict[str, Any]) -> str:
    if "budget" not in result:
        return ""
    budget = result["budget"]
    rows = [("stage", "p50", "p90")]
    rows += [(stage, _ms(q.get("p50")), _ms(q.get("p90"))) for stage, q in budget["stages_ms"].items()]
    limits = [("register", "notes", "decided, p50", "beyond one period", "beyond two periods")]
    for name, one in budget["beyond_physics_ms"].items():
        limits.append(
            (name, str(one["notes"]), *(_ms(one[key]["p50"]) for key in ("decided", "beyond one period", "beyond two periods")))
        )
    return f"Over {budget['notes']} right notes.\n\n{_table(rows)}\n\n{_table(limits)}"


def _costs(result: dict[str, Any]) -> str:
    return _peers(result, {
        "version": lambda peer: peer["version"],
        "measured": lambda peer: peer["since"],
        "CPU s / s": lambda peer: f"{peer['cpu_per_s']:.3f}",
        "start-up": lambda peer: f"{peer['startup_s']:.1f} s",
        "peak memory ⁵": lambda peer: f"{peer['peak_mb']:.0f} MB",
        "installed": lambda peer: f"{peer['install_mb']:.3g} MB",
    })  # fmt: skip


def _live_cost(result: dict[str, Any]) -> str:
    if "paced_percent_of_a_core" not in result:
        return ""
    rows = [("rtmelody on", "offline, one thread", "live: framing + network + tracker")]
    for runtime, share in result["paced_percent_of_a_core"].items():
        parts = " + ".join(f"{share[part]:.1f}" for part in ("framing", "network", "tracker"))
        rows.append(
            (
                runtime,
                f"{result['offline_times_real_time'][runtime]:.0f} times real time",
                f"{parts} = {share['all']:.1f} % of a core",
            )
        )
    whole = f"All of `rtmelody listen` but sound card and MIDI takes {result['live_percent_of_a_core']:.1f} % of a core."
    return f"{_table(rows)}\n\n{whole} `rtmelody --help` answers in {result['help_s']:.2f} s."


def _scale(result: dict[str, Any]) -> str:
    if "scale" not in result:
        return ""
    scale = result["scale"]
    rows = [("live streams on one core", "late hops", "load")]
    rows += [(count, f"{one['late_percent']:.1f} %", f"{one['load_percent']:.0f} %") for count, one in scale["streams"].items()]
    files, soak = scale["files_a_minute"], scale["soak"]
    rates = f"{files['1']:.0f} on one process, {files['2']:.0f} on two"
    return (
        f"{_table(rows)}\n\nA core holds {scale['held']} streams with at most 1 % of the hops late. "
        f"Recordings of ten seconds a minute: {rates}. Memory over {soak['hours']:.2g} h of audio: "
        f"{soak['settled_mb']:.1f} MB once settled, {soak['end_mb']:.1f} MB at the end."
    )


def _cents(result: dict[str, Any]) -> str:
    errors = result.get("cents_error", {}) | {
        f"{name} (single notes)": error for name, error in result.get("cents_error_sampled", {}).items()
    }
    rows = [("error in cents", "notes", "median", "p90")]
    rows += [(name, f"{error['notes']:.0f}", f"{error['median']:.1f}", f"{error['p90']:.1f}") for name, error in errors.items()]
    known = "The single notes are of libraries that training plays too; their deviations were measured by other means."
    return f"{_table(rows)}\n\n{known}" if errors else ""


def _about(result: dict[str, Any]) -> str:
    about = result["about"]
    extent = "the full run" if result["full"] else "the quick subset"
    absent = "".join(f" Absent: {name} ({why})." for name, why in result["absent"].items())
    return f"Measured at commit {about['commit']} on {about['date']} ({about['machine']}), {extent}.{absent}"


def _peers(result: dict[str, Any], columns: dict[str, Cell]) -> str:
    rows = [("", *columns)]
    rows += [(NAMES.get(name, name), *(cell(peer) for cell in columns.values())) for name, peer in result["peers"].items()]
    return _table(rows)


def _figure(of: str, condition: str, name: str, group: str = "all", digits: int = 2) -> Cell:
    return lambda peer: _number(peer["tables"][of][condition].get(group, {}), name, digits)


def _number(figures: dict[str, float], name: str, digits: int = 2) -> str:
    return f"{figures[name]:.{digits}f}" if name in figures else "–"


def _latency(figures: dict[str, float], register: str = "") -> str:
    p50, p90 = (figures.get(f"latency_{share}{register}") for share in ("p50", "p90"))
    return "–" if p50 is None else f"{p50:.0f} / {p90:.0f} ms"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g} ms" if value < 1 else f"{value:.1f} ms"


def _plain(name: str) -> str:
    return NAMES.get(name, name).strip("*¹²³ ")


def _noise_levels(result: dict[str, Any]) -> dict[str, list[int]]:
    """Kinds of noise with the levels that were measured."""
    kinds: dict[str, list[int]] = {}
    for condition in result["peers"][OURS]["tables"]["melodies"]:
        if match := re.fullmatch(r"(\w+) (\d+) dB", condition):
            kinds.setdefault(match[1], []).append(int(match[2]))
    return kinds


def _table(rows: Iterable[Iterable[str]]) -> str:
    head, *body = (list(row) for row in rows)
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *body])
