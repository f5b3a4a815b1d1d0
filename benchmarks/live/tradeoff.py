"""What each speed costs: melodies that training never heard, by emission time."""

from benchmarks.sets import HELD_OUT
from rtmelody.config import SPEEDS, Config, Tracker
from rtmelody.core.network import Network, model_folder
from rtmelody.train import evaluate

PER_INSTRUMENT = 10


def tradeoff() -> dict[str, dict[str, dict[str, float]]]:
    """{speed: {condition: figures}}."""
    network = Network(model_folder("melody"))
    found = {}
    for speed in SPEEDS:
        scores = evaluate.held_out(HELD_OUT, network, Config(tracker=Tracker(speed=speed)), PER_INSTRUMENT)
        found[speed] = {condition: groups["all"] for condition, groups in evaluate.tables(scores).items()}
    return found
