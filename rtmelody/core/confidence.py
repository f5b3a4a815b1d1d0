"""How sure a note is: a probability that is worth what it says."""

from typing import Any

import numpy as np

SUREST = 1e-4  # from certainty; nothing is surer


def calibrated(probability: float, slope: float, offset: float) -> float:
    """A probability whose log-odds lie on a line (Platt, "Probabilistic outputs for support vector machines", 1999)."""
    return float(1.0 / (1.0 + np.exp(-slope * log_odds(probability) - offset)))


def log_odds(probability: Any) -> Any:
    """Of a probability, or an array of them; finite."""
    probability = np.clip(probability, SUREST, 1.0 - SUREST)
    return np.log(probability / (1.0 - probability))
