"""Conversions between samples, hops and seconds.

Inside the core, time is the sample index; seconds exist at the edges.
"""


def hop_samples(hop_s: float, sample_rate: float) -> int:
    """Samples in one hop, rounded to a whole number and at least 1."""
    return max(1, round(hop_s * sample_rate))


def seconds(sample_index: int, sample_rate: float) -> float:
    """Time in seconds of a sample index."""
    return sample_index / sample_rate


def hops(time_s: float, hop_s: float) -> int:
    """Whole hops nearest to a duration, at least 1 (a debouncer cannot wait less)."""
    return max(1, round(time_s / hop_s))
