"""What provisional notes are worth: how soon they are announced, and how many are confirmed."""

from collections import Counter

import numpy as np

from benchmarks.sets import HELD_OUT
from rtmelody.core.network import Network, model_folder
from rtmelody.core.recognizer import Recognizer
from rtmelody.events import Provisional
from rtmelody.train import evaluate

PER_INSTRUMENT = 10
TOLERANCE_S = 0.1


def provisional() -> dict[str, float]:
    """Clean melodies that training never heard; medians in ms after the true onset, of notes right within 100 ms."""
    network, fates = Network(model_folder("melody")), Counter[str]()
    delays: dict[str, list[float]] = {"announced": [], "confirmed": []}
    for case in evaluate.rendered_melodies(HELD_OUT, PER_INSTRUMENT, evaluate.SEED):
        recognizer = Recognizer(case.rate, network=network)
        recognizer.push(case.audio)
        recognizer.flush()
        news = recognizer.provisional()
        fates.update(one.fate for one in news)
        for fate in delays:
            delays[fate] += _delays(case, [one for one in news if one.fate == fate])
    medians = {f"{fate}_ms": 1000 * float(np.median(found)) for fate, found in delays.items()}
    shares = {fate: fates[fate] / fates["announced"] for fate in ("confirmed", "corrected", "retracted")}
    return {name: round(value, 3) for name, value in (medians | shares).items()}


def _delays(case: evaluate.Case, news: list[Provisional]) -> list[float]:
    """From each true note's onset to the first news of its pitch within the tolerance, s."""
    found = []
    for onset, _, pitch in case.truth:
        times = [one.at / case.rate - onset for one in news if one.pitch == round(pitch)]
        found += [time for time in times if 0.0 <= time <= TOLERANCE_S][:1]
    return found
