"""The curves of the model card: how the loss fell, what a speed costs, and what its confidence is worth."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rtmelody.train.evaluate import Score, tables

BINS = 10
FEWEST = 5  # notes in a bin that is drawn
SMOOTHED = 9  # visits

Scored = list[tuple[str, str, Score]]  # condition, instrument, score


def draw(path: Path, losses: list[float], scores: dict[str, Scored], speed: str) -> None:
    """Write a PNG, of what a training and an evaluation at each speed gave; `speed` is the one that is trusted or not."""
    panels = 3 if losses else 2
    figure = Figure(figsize=(4.4 * panels, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    *training, trading, trusting = figure.subplots(1, panels)
    for axes in training:
        _draw_losses(axes, losses)
    _draw_speeds(trading, scores)
    _draw_reliability(trusting, scores[speed])
    figure.savefig(path, dpi=90)


def _draw_losses(axes: Any, losses: list[float]) -> None:
    """Of every visit, and smoothed: shards differ."""
    axes.plot(range(1, len(losses) + 1), losses, color="tab:blue", lw=0.5, alpha=0.5)
    if len(losses) >= SMOOTHED:
        smooth = np.convolve(losses, np.full(SMOOTHED, 1 / SMOOTHED), mode="valid")
        axes.plot(np.arange(len(smooth)) + (SMOOTHED + 1) / 2, smooth, color="tab:blue")
    axes.set(title="training", xlabel="visits to a shard", ylabel="loss")


def _draw_speeds(axes: Any, scores: dict[str, Scored]) -> None:
    """F1 against latency, a line a condition and a point a speed."""
    found = {speed: tables(scored) for speed, scored in scores.items()}
    for condition in next(iter(found.values())):
        figures = [table[condition]["all"] for table in found.values()]
        latency, f1 = zip(*((figure["latency_p50_ms"], figure["f1"]) for figure in figures), strict=True)
        axes.plot(latency, f1, marker="o", label=condition)
        for speed, *place in zip(found, latency, f1, strict=True):
            axes.annotate(speed, place, textcoords="offset points", xytext=(0, 6), ha="center", fontsize=8)
    axes.set(title="speed", xlabel="median latency (ms)", ylabel="live F1 (100 ms)")
    axes.margins(0.12)  # for the names
    axes.legend(fontsize=8)


def _draw_reliability(axes: Any, scored: Scored) -> None:
    """How often notes of a confidence are right (Guo et al. 2017), a line a condition."""
    axes.plot((0, 1), (0, 1), color="grey", lw=0.8, ls=":")
    for condition in dict.fromkeys(condition for condition, *_ in scored):
        told = [one for name, _, score in scored if name == condition for one in score.told]
        confidence, right = np.array(told).reshape(-1, 2).T
        place = np.minimum((confidence * BINS).astype(int), BINS - 1)
        filled = [one for one in range(BINS) if np.sum(place == one) >= FEWEST]
        means = [(confidence[place == one].mean(), right[place == one].mean()) for one in filled]
        axes.plot(*np.array(means).reshape(-1, 2).T, marker="o", label=condition)
    axes.set(title="confidence", xlabel="confidence of a note", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
    axes.legend(fontsize=8)
