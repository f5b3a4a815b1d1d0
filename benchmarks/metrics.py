"""How right, and how soon.

- Live F1 matches on the time of *emission*.
- Onset F1 matches on the onset that the peer reports, as is usual offline.
- Notes that begin inside a doubtful annotation count neither way.
"""

from dataclasses import dataclass

import numpy as np

from rtmelody.train.evaluate import match, match_live

LIVE_S = (0.03, 0.05, 0.1, 0.2)
ONSET_S = (0.05, 0.1)
REGISTERS = {"low": (0, 48), "middle": (48, 84), "high": (84, 128)}
FROM_C4 = {"from C4": (60, 128)}  # where physics allows to be soon
SECONDS_A_MINUTE = 60
BINS = 10  # of confidence


@dataclass(frozen=True, slots=True)
class Outcome:
    """A trial and what a peer made of it.

    `truth`, `doubtful`: [n, 3] onset s, offset s, MIDI number. `found`: [n, 5] the same, then the time of emission (s) and the
    confidence (NaN: none).
    """

    group: str
    seconds: float
    truth: np.ndarray
    doubtful: np.ndarray
    found: np.ndarray


def summary(outcomes: list[Outcome]) -> dict[str, float]:
    """Every figure over these outcomes together; figures without a case are left out."""
    outcomes = [_without_doubtful(one) for one in outcomes]
    figures: dict[str, float] = {"notes": sum(len(one.truth) for one in outcomes)}
    for tolerance in ONSET_S:
        figures[f"f1_onset_{_ms(tolerance)}"] = _f1(outcomes, [onset_matches(one, tolerance) for one in outcomes])
    figures["f1_onset_offset"] = _f1(outcomes, [onset_matches(one, 0.05, offsets=True) for one in outcomes])
    live = {tolerance: [live_matches(one, tolerance) for one in outcomes] for tolerance in LIVE_S}
    for tolerance, matches in live.items():
        figures[f"f1_live_{_ms(tolerance)}"] = _f1(outcomes, matches)
    figures["precision"] = _share(sum(map(len, live[0.1])), sum(len(one.found) for one in outcomes))
    figures["recall"] = _share(sum(map(len, live[0.1])), sum(len(one.truth) for one in outcomes))
    figures["exact"] = _share(sum(map(_exact, outcomes)), len(outcomes))
    figures |= _recalls(outcomes, live[0.2]) | _latency_figures(outcomes) | calibration(outcomes, live[0.1])
    figures["octave_errors"] = _share(sum(map(_octave_errors, outcomes)), sum(len(one.found) for one in outcomes))
    return {name: round(float(value), 4) for name, value in figures.items() if np.isfinite(value)}


def false_notes_a_minute(outcomes: list[Outcome]) -> float:
    """Of noise alone, where every note is false."""
    return round(SECONDS_A_MINUTE * sum(len(one.found) for one in outcomes) / sum(one.seconds for one in outcomes), 2)


def onset_matches(one: Outcome, tolerance_s: float, *, offsets: bool = False) -> list[tuple[int, int]]:
    """(true, found) pairs by reported onset, and offset within a fifth of the note (at least 50 ms) if asked."""
    return match(one.truth, one.found[:, 0], one.found[:, 2], tolerance_s, one.found[:, 1] if offsets else None)


def live_matches(one: Outcome, tolerance_s: float) -> list[tuple[int, int]]:
    """(true, found) pairs by the time of emission."""
    return match_live(one.truth, one.found[:, 3], one.found[:, 2], tolerance_s)


def calibration(outcomes: list[Outcome], matches: list[list[tuple[int, int]]]) -> dict[str, float]:
    """Expected calibration error of the confidence (Guo et al. 2017): of notes at 0.9, nine in ten should be right."""
    sure = np.concatenate([one.found[:, 4] for one in outcomes]) if outcomes else np.zeros(0)
    right = np.concatenate(
        [np.isin(np.arange(len(one.found)), [f for _, f in pairs]) for one, pairs in zip(outcomes, matches, strict=True)]
    )
    told = ~np.isnan(sure)
    if not told.any():
        return {}
    place = np.minimum((sure[told] * BINS).astype(int), BINS - 1)
    errors = [abs(np.sum(sure[told][place == b] - right[told][place == b])) for b in range(BINS)]
    return {"ece": sum(errors) / told.sum()}


def _without_doubtful(one: Outcome) -> Outcome:
    """In the order of emission, and without what was found at a doubtful annotation, unless it may be a sure note."""
    onsets, pitches = one.found[:, 0], one.found[:, 2]
    sure = {found for _, found in match(one.truth, onsets, pitches, max(ONSET_S))}
    kept = [n in sure or not any(begin <= onset <= end for begin, end, _ in one.doubtful) for n, onset in enumerate(onsets)]
    found = one.found[kept]
    return Outcome(one.group, one.seconds, one.truth, one.doubtful, found[np.argsort(found[:, 3], kind="stable")])


def _f1(outcomes: list[Outcome], matches: list[list[tuple[int, int]]]) -> float:
    return _share(2 * sum(map(len, matches)), sum(len(one.truth) + len(one.found) for one in outcomes))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else np.nan


def _exact(one: Outcome) -> bool:
    return np.rint(one.found[:, 2]).tolist() == np.rint(one.truth[:, 2]).tolist()


def _recalls(outcomes: list[Outcome], matches: list[list[tuple[int, int]]]) -> dict[str, float]:
    """Recall (live, 200 ms) of low, high and repeated notes."""
    pitch = np.concatenate([one.truth[:, 2] for one in outcomes])
    repeated = np.concatenate([np.diff(one.truth[:, 2], prepend=-1) == 0 for one in outcomes])
    hit = np.concatenate(
        [np.isin(np.arange(len(one.truth)), [t for t, _ in pairs]) for one, pairs in zip(outcomes, matches, strict=True)]
    )
    among = {"recall_repeated": repeated, "recall_low": pitch < 48, "recall_high": pitch >= 84}
    return {name: _share(hit[these].sum(), these.sum()) for name, these in among.items()}


def latencies(outcomes: list[Outcome]) -> np.ndarray:
    """Rows [n, 2]: emission minus true onset (s) of the notes with the right onset; MIDI number."""
    rows = [
        (one.found[found, 3] - one.truth[true, 0], one.truth[true, 2])
        for one in outcomes
        for true, found in onset_matches(one, 0.1)
    ]
    return np.array(rows).reshape(-1, 2)


def _latency_figures(outcomes: list[Outcome]) -> dict[str, float]:
    """Quantiles in ms, spread (p90 - p10), and median and p90 by register."""
    table = latencies(outcomes)
    if not len(table):
        return {}
    latency, pitch = 1000 * table[:, 0], table[:, 1]
    p10, p50, p90, p99 = np.percentile(latency, (10, 50, 90, 99))
    figures = {"latency_p50": p50, "latency_p90": p90, "latency_p99": p99, "latency_spread": p90 - p10}
    for name, (lowest, highest) in (REGISTERS | FROM_C4).items():
        these = latency[(pitch >= lowest) & (pitch < highest)]
        for share in (50, 90) if len(these) else ():
            figures[f"latency_p{share} {name}"] = np.percentile(these, share)
    return figures


def _octave_errors(one: Outcome) -> int:
    """Found notes that are one octave or more off a true one that begins within 100 ms."""
    begins = np.abs(one.found[:, None, 0] - one.truth[None, :, 0]) <= 0.1
    interval = np.rint(one.found[:, None, 2]) - np.rint(one.truth[None, :, 2])
    octave = (begins & (interval != 0) & (interval % 12 == 0)).any(axis=1)
    return int((octave & ~(begins & (interval == 0)).any(axis=1)).sum())


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f}"
