"""rtmelody itself, streamed in blocks of 128 samples: the same harness and the same clips as its peers."""

# /// script
# dependencies = []
# [tool.benchmarks]
# peer = "rtmelody"
# project = true
# ///

import harness  # isort: skip (times the start-up)

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from rtmelody import NoteOn, Recognizer, notes
from rtmelody.config import Config
from rtmelody.core.network import Network, model_folder

CONFIG = Config()
NETWORK = Network(model_folder(CONFIG.model))


def transcribe(audio: np.ndarray, rate: int) -> Iterator[harness.Note]:
    """As live: block by block, and flushed; a note is there when the block that decided it is."""
    recognizer, events = Recognizer(rate, CONFIG, NETWORK), []
    for block, there in harness.blocks(audio, CONFIG.audio.block_size):
        decided = recognizer.push(block)
        events += [replace(event, at=there) if isinstance(event, NoteOn) else event for event in decided]
    for note in notes(events + recognizer.flush(), rate):
        yield note.onset, note.offset, note.midi, note.emitted_at, note.confidence


if __name__ == "__main__":
    harness.serve(transcribe)
