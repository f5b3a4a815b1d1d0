"""`python -m benchmarks.live`: the live path on a real JACK server, and what it is compared with.

Writes benchmarks/results/live.json and docs/live.md. Needs jackd, fluidsynth, espeak-ng and rtmelody[test], and aubionotes to
compare; takes three quarters of an hour, in which nothing else should run.
"""

import argparse
from collections.abc import Callable
from typing import Any

from benchmarks.__main__ import describe
from benchmarks.live import report
from benchmarks.live.endurance import hour, ten_minutes
from benchmarks.live.latency import fixed_latency, latency
from benchmarks.live.load import load
from benchmarks.live.page import page
from benchmarks.live.provisional import provisional
from benchmarks.live.tradeoff import tradeoff
from benchmarks.live.viewers import viewers

STAGES: dict[str, Callable[[], Any]] = {
    stage.__name__: stage for stage in (latency, fixed_latency, tradeoff, provisional, ten_minutes, hour, load, page, viewers)
}


def main() -> None:
    """Measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=STAGES, default=list(STAGES), help="measure these anew, keep the others")
    result = report.load()
    for name in parser.parse_args().only:
        result[name] = {"about": describe(), "found": STAGES[name]()}
        print(name, result[name]["found"], flush=True)
        report.keep(result)
    if STAGES.keys() <= result.keys():
        report.write(result)


if __name__ == "__main__":
    main()
