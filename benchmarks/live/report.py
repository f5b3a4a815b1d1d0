"""What docs/live.md shows of results/live.json."""

import json
from typing import Any

from benchmarks.report import RESULTS, ROOT

RESULT, DOCUMENT = RESULTS / "live.json", ROOT / "docs" / "live.md"
ONSETS = """## From the onset to the MIDI message

80 single tones from C4 to C7 through a JACK server (48 kHz, 128 samples a period), from the frame of the onset at the converter
to the frame of the first note-on of its pitch at a receiver; other note-ons are wrong, or second ones. Jitter is what lies
between the 5th and the 95th percentile.
"""
FIXED = """With `--fixed-latency` every note leaves so long after its onset, as the samples tell it. (Measured on a
server that does not wait for slow clients, as waiting bends time; the others on one that does.)
"""
TRADEOFF = """## What a speed costs

Eighty melodies on a soundfont that training never heard; F1 by emission within 100 ms of the true onset, precision in voices.
"""
TONES = ("", "right", "others", "median", "90 % within", "jitter")
PROVISIONAL = """On the same melodies, clean, at the default speed: provisional notes are announced {announced_ms:.0f} ms
after their onset and confirmed {confirmed_ms:.0f} ms after it (medians). Of what is announced {confirmed:.0%} is
confirmed, {corrected:.0%} corrected, {retracted:.0%} retracted.
"""
TEN_MINUTES = """## Ten minutes, and an hour

{minutes} minutes of playing through JACK: {samples_lost} samples lost; of {events} events {unlike_transcribe} unlike those of
`rtmelody transcribe`; {messages_unlike_events} MIDI messages lost, out of order, or hanging.
"""
HOUR = """{hours:g} hours through the engine, {times_real_time} times as fast as played: {settled_mb} MB after some minutes,
{end_mb} MB at the end; the last pass of the tune is told as the second, to {drift_ms:g} ms.
"""
LOAD = """## Beside busy processes

How much later than its quickest hop one is recognized, against a loop that only wakes up as often (ms): alone, and beside a
busy process for every core.
"""
PAGE = """## On the page

Of {seen} tones at the microphone, half were drawn on the page of `rtmelody monitor` within {p50:.0f} ms, 95 % within
{p95:.0f} ms; it drew {frames_per_s:.0f} frames a second (headless Chromium on the same machine).
"""
VIEWERS = """With twenty viewers for {minutes:.0f} minutes, five of whom never read, MIDI notes come
{watched_p50:.1f} ms (median; 90 % within {watched_p90:.1f} ms) after their onsets; without,
{alone_p50:.1f} ms ({alone_p90:.1f} ms). Server and engine take {settled_mb:.0f} MB after two minutes, {end_mb:.0f} MB
at the end.
"""


WHEN = """## When each was measured
"""


def load() -> dict[str, Any]:
    """The result; nothing before the first."""
    return json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}


def keep(result: dict[str, Any]) -> None:
    """Write the result, which may lack stages yet."""
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def write(result: dict[str, Any]) -> None:
    """Its document."""
    DOCUMENT.write_text(document(result), encoding="utf-8")


def document(result: dict[str, Any]) -> str:
    """The figures in Markdown."""
    stages = {name: stage["found"] for name, stage in result.items()}
    return "\n".join([
        "# The live path\n\nWritten by `python -m benchmarks.live`.\n",
        ONSETS,
        *_table(TONES, map(_latency, stages["latency"].items())),
        FIXED,
        *_table(TONES, map(_latency, stages["fixed_latency"].items())),
        TRADEOFF,
        *_table(
            ("", "F1 clean", "F1 white 10 dB", "F1 voices 10 dB", "precision in voices", "median", "90 % within"),
            map(_speed, stages["tradeoff"].items()),
        ),
        PROVISIONAL.format(**stages["provisional"]),
        TEN_MINUTES.format(**stages["ten_minutes"]),
        HOUR.format(**stages["hour"]),
        LOAD,
        *_table(
            ("", "median", "99 % within", "latest"),
            ((name, *(f"{row[key]:.2f}" for key in ("p50", "p99", "max"))) for name, row in stages["load"].items()),
        ),
        PAGE.format(**stages["page"]),
        VIEWERS.format(**stages["viewers"]),
        WHEN,
        *_table(("", "commit", "day", "model"), map(_when, result.items())),
    ])  # fmt: skip


def _when(row: tuple[str, dict[str, Any]]) -> tuple[str, ...]:
    name, stage = row
    about = stage["about"]
    return name.replace("_", " "), about["commit"], about["date"], about.get("model", "an earlier one")


def _latency(row: tuple[str, dict[str, float]]) -> tuple[str, ...]:
    name, found = row
    return name, str(found["right"]), str(found["others"]), *(f"{found[key]:.1f} ms" for key in ("p50", "p90", "jitter"))


def _speed(row: tuple[str, dict[str, dict[str, float]]]) -> tuple[str, ...]:
    name, found = row
    clean, voices = found["clean"], found["babble 10 dB"]
    scores = [found[condition]["f1"] for condition in ("clean", "white 10 dB", "babble 10 dB")]
    times = (f"{clean[key]:.0f} ms" for key in ("latency_p50_ms", "latency_p90_ms"))
    return name, *(f"{score:.2f}" for score in (*scores, voices["precision"])), *times


def _table(head: tuple[str, ...], rows: Any) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]
