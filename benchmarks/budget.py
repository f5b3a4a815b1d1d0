"""Where the time of a note goes, from its onset to the MIDI message, and how far that is from what physics allows."""

import time
from collections.abc import Iterator
from contextlib import closing

import mir_eval
import numpy as np
import soundfile

from benchmarks.clips import Clip
from benchmarks.metrics import REGISTERS, live_matches
from rtmelody.config import Config
from rtmelody.core.network import Network, model_folder
from rtmelody.core.recognizer import Recognizer
from rtmelody.errors import MidiError
from rtmelody.events import Note, NoteOff, NoteOn, notes
from rtmelody.io.midi import MidiPort

LATEST_S = 0.2
SENDS = 200


def budget(clips: list[Clip], paced: dict[str, float]) -> dict:
    """Medians and 90th percentiles in ms over the right notes; `paced` is what a hop costs in % of its time."""
    config, network = Config(), Network(model_folder("melody"))
    rows = np.array([row for clip in clips for row in _rows(clip, config, network)])
    hop_ms = 1000 * network.manifest.front_end.hop_s
    pitch, heard, decided = rows.T
    period = 1000 / mir_eval.util.midi_to_hz(pitch)
    return {
        "notes": len(rows),
        "stages_ms": {
            "device block": {"p50": _block_ms(config) / 2, "p90": 0.9 * _block_ms(config)},
            "resonators and network: until the pitch leads": _quantiles(heard),
            "tracker: until it is sure": _quantiles(decided - heard),
            **{f"computing: {part}": {"p50": paced[part] / 100 * hop_ms} for part in ("framing", "network", "tracker")},
            "MIDI send": _midi_send(),
        },
        "beyond_physics_ms": {
            name: {
                "notes": int(these.sum()),
                "decided": _quantiles(decided[these]),
                "beyond one period": _quantiles((decided - period)[these]),
                "beyond two periods": _quantiles((decided - 2 * period)[these]),
            }
            for name, (lowest, highest) in REGISTERS.items()
            for these in [(pitch >= lowest) & (pitch < highest)]
            if these.any()
        },
    }


def _rows(clip: Clip, config: Config, network: Network) -> Iterator[tuple[float, float, float]]:
    """(MIDI number, ms from onset until the pitch led, ms until NoteOn) of every right note but repeats, which led before."""
    audio, rate = soundfile.read(clip.path, dtype="float32")
    recognizer, events, leaders = Recognizer(rate, config, network), [], []
    for start in range(0, len(audio), recognizer.framing.hop):
        events += recognizer.push(audio[start : start + recognizer.framing.hop])
        if recognizer.posterior:
            leaders.append((recognizer.posterior.at / rate, int(recognizer.posterior.classes.argmax())))
    times, leading = np.array(leaders).T
    found = notes(events + recognizer.flush(), rate)
    for true, one in live_matches(clip.outcome([_as_row(note) for note in found]), LATEST_S):
        onset, pitch = clip.truth[true, 0], clip.truth[true, 2]
        if true and clip.truth[true - 1, 2] == pitch:
            continue
        leads = times[(times >= onset) & (leading == pitch - network.manifest.lowest_pitch)]
        decided = found[one].emitted_at
        yield pitch, 1000 * (min(leads[0], decided) - onset if len(leads) else decided - onset), 1000 * (decided - onset)


def _as_row(note: Note) -> list[float | None]:
    return [note.onset, note.offset, note.midi, note.emitted_at, note.confidence]


def _block_ms(config: Config) -> float:
    return 1000 * config.audio.block_size / 48_000


def _midi_send() -> dict[str, float]:
    """What one message takes on this machine's MIDI backend; nothing if there is none (start a JACK server to measure it)."""
    try:
        port = MidiPort(Config().midi)
    except MidiError:
        return {}
    costs = []
    with closing(port):
        for number in range(SENDS):
            event = (NoteOn(0, 60, 100, 0, 1.0, 0.0), NoteOff(0, 60))[number % 2]
            began = time.perf_counter()
            port.send(event)
            costs.append(1000 * (time.perf_counter() - began))
            time.sleep(0.005)
    return _quantiles(np.array(costs))


def _quantiles(values: np.ndarray) -> dict[str, float]:
    p50, p90 = np.percentile(values, (50, 90))
    return {"p50": round(float(p50), 3), "p90": round(float(p90), 3)}
