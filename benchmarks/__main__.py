"""`python -m benchmarks`: measure, and write benchmarks/results/main.json and the README's figures."""

import argparse
import json
import platform
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from benchmarks import accuracy, speed
from benchmarks.readme import with_figures
from rtmelody.io.files import read_audio

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "main.json"
PACKAGES = ("numpy", "numba", "tflite-runtime", "ai-edge-litert", "mir_eval")


def main() -> None:
    """Run everything; minutes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=Path, help="folder with annotated recordings in mono/ and stitched/")
    parser.add_argument("--notes", type=Path, help="folder of single-note libraries with measured deviations")
    parser.add_argument("--melodies", type=int, default=10, help="melodies an instrument (default: 10)")
    options = parser.parse_args()
    samples, rate = read_audio(ROOT / "rtmelody" / "data" / "demo.ogg")
    stages = {
        "help_s": speed.help_seconds,
        "offline_times_real_time": lambda: speed.offline(samples, rate),
        "paced_percent_of_a_core": speed.paced,
        "live_percent_of_a_core": lambda: speed.live(samples, rate),
        "rendered": lambda: accuracy.rendered(melodies=options.melodies),
        "cents_error": accuracy.cents,
    }
    if options.recordings:
        stages["recordings"] = lambda: accuracy.real(options.recordings)
    if options.notes:
        stages["cents_error_sampled"] = lambda: accuracy.sampled_cents(options.notes)
    # What is not measured now (a folder was not given) stays as it was.
    result = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    result["about"] = about()
    for number, (name, stage) in enumerate(stages.items(), 1):
        print(f"[{number}/{len(stages)}] {name} …", flush=True)
        result[name] = stage()
        print(json.dumps(result[name], indent=1), flush=True)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    readme = ROOT / "README.md"
    readme.write_text(with_figures(readme.read_text(encoding="utf-8"), result), encoding="utf-8")
    print(f"-> {RESULT.relative_to(ROOT)}, README.md")


def about() -> dict[str, str]:
    """Where and with what this was measured."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S607
    return {
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
    } | {package: version(package) for package in PACKAGES if find_spec(package.replace("-", "_"))}


if __name__ == "__main__":
    main()
