"""The recording that `rtmelody demo` plays: Greensleeves (traditional) on three CC0 instruments, in a room with some noise.

    python -m rtmelody.train.demo_tune NOTES_FOLDER rtmelody/data

NOTES_FOLDER holds the libraries named in PHRASES (see rtmelody/data/LICENSE.txt). Writes demo.ogg and its truth, demo.tsv.
"""

import csv
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile

from rtmelody.train.augment import coloured_noise, in_room, make_rooms
from rtmelody.train.melodies import Planned
from rtmelody.train.render import Manner, play
from rtmelody.train.sources import RATE, load_library, read_audio

BEAT_S = 0.27
NOISE_DB = -32.0  # relative to the music
SEED = 1580  # the year in which the tune was registered

# Library, and its phrase as (MIDI number, beats); 0 is a rest.
PHRASES = {
    "freepats-spanish-guitar": (
        (64, 1), (67, 2), (69, 1), (71, 1.5), (72, 0.5), (71, 1), (69, 2), (66, 1), (62, 1.5), (64, 0.5), (66, 1),
        (67, 2), (64, 1), (64, 1.5), (63, 0.5), (64, 1), (66, 2), (63, 1), (59, 2),
    ),
    "weresax-alto": (
        (64, 1), (67, 2), (69, 1), (71, 1.5), (72, 0.5), (71, 1), (69, 2), (66, 1), (62, 1.5), (64, 0.5), (66, 1),
        (67, 1.5), (66, 0.5), (64, 1), (63, 1.5), (61, 0.5), (63, 1), (64, 3), (0, 2),
    ),
    "freepats-upright-kw": (
        (74, 3), (74, 1.5), (73, 0.5), (71, 1), (69, 2), (66, 1), (62, 1.5), (64, 0.5), (66, 1),
        (67, 1.5), (66, 0.5), (64, 1), (63, 1.5), (61, 0.5), (63, 1), (64, 3), (0, 2),
    ),
}  # fmt: skip


def main(notes: Path, out: Path) -> None:
    """Write the recording and its truth."""
    rng = np.random.default_rng(SEED)
    melodies = _planned(rng)
    seconds = max(note.start + note.duration for melody in melodies.values() for note in melody) + 1.0
    clips = [play(rng, melody, load_library(notes / name), Manner(), seconds).audio for name, melody in melodies.items()]
    audio = np.sum(clips, axis=0)
    with TemporaryDirectory() as rooms:
        list(make_rooms(Path(rooms), 1, SEED))
        audio = in_room(audio, read_audio(Path(rooms, "shoebox-000.flac")))
    noise = coloured_noise(rng, len(audio), tilt=1.0)
    audio += noise * np.std(audio) / np.std(noise) * 10 ** (NOISE_DB / 20)
    soundfile.write(out / "demo.ogg", audio / np.max(np.abs(audio)) * 0.7, RATE, format="OGG", subtype="VORBIS")
    with (out / "demo.tsv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(("onset_s", "offset_s", "midi_pitch"))
        for melody in melodies.values():
            table.writerows((f"{note.start:.3f}", f"{note.start + note.duration:.3f}", note.pitch) for note in melody)


def _planned(rng: np.random.Generator) -> dict[str, list[Planned]]:
    """The phrases one after another, with a player's small liberties."""
    clock = 0.4
    melodies: dict[str, list[Planned]] = {}
    for name, phrase in PHRASES.items():
        melodies[name] = []
        for pitch, beats in phrase:
            length = beats * BEAT_S * rng.uniform(0.97, 1.03)
            if pitch:
                melodies[name].append(Planned(clock, 0.94 * length, pitch, rng.uniform(0.6, 1.0)))
            clock += length
    return melodies


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
