"""A picture of a recognized recording: what the resonators heard, the notes, and when each was announced."""

import io
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtmelody.core.framing import Framing
from rtmelody.errors import OutputError
from rtmelody.events import Note, note_name
from rtmelody.io.files import presentable

WIDEST_S = 60.0  # more than this fits no page: the picture then shows the beginning


def check() -> None:
    """Raises OutputError, before long work, if no picture could be drawn after it."""
    if find_spec("matplotlib") is None:
        raise OutputError("Pictures need matplotlib: run `pip install 'rtmelody[plot]'`.")


def picture(samples: NDArray[np.float32], sample_rate: float, notes: list[Note], title: str, a4_hz: float = 440.0) -> bytes:
    """A PNG of the first minute of a recording; its pitches are counted from `a4_hz`.

    Raises OutputError without matplotlib.
    """
    check()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = samples[: round(WIDEST_S * sample_rate)]
    length = len(shown) / sample_rate
    figure = Figure(figsize=(min(24.0, max(8.0, 1.1 * length)), 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    roll, delays = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    _draw_spectrum(roll, shown, Framing(sample_rate, a4_hz=a4_hz), length)
    visible = [note for note in notes if note.onset < length]
    _draw_notes(roll, visible)
    _draw_delays(delays, visible)
    roll.set_title(presentable(title), parse_math=False)
    delays.set_xlim(0, length)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return content.getvalue()


def _draw_spectrum(axes: Any, samples: NDArray[np.float32], framing: Framing, length: float) -> None:
    """The resonator bank's own spectrogram, dB relative to the loudest bin of the recording."""
    # At least one hop: a picture of nothing is still a picture.
    frames = framing.push(np.concatenate((samples, np.zeros(framing.hop, np.float32))))
    bins = framing.front_end.bins
    level = (frames.features[:, :bins] - 1.0) * framing.front_end.range_db / 2 + frames.level_db[:, None]
    stride = max(1, len(level) // 4000)
    pitches = framing.front_end.pitches()
    loudest = level.max(initial=-60.0)
    extent = (0, length, pitches[0] - 0.25, pitches[-1] + 0.25)
    axes.imshow(level[::stride].T, origin="lower", aspect="auto", cmap="Greys", vmin=loudest - 60, vmax=loudest, extent=extent)


def _draw_notes(axes: Any, notes: list[Note]) -> None:
    """Bars from onset to offset, with a mark where the note was announced."""
    for note in notes:
        axes.plot(
            (note.onset, note.offset), (note.midi, note.midi), color="tab:orange", lw=5, alpha=0.75, solid_capstyle="butt"
        )
        axes.plot(note.emitted_at, note.midi, marker="|", color="tab:blue", markersize=11, markeredgewidth=2)
        axes.annotate(note_name(note.midi), (note.onset, note.midi + 1.3), fontsize=7, color="tab:red")
    if notes:
        axes.set_ylim(min(note.midi for note in notes) - 7, max(note.midi for note in notes) + 26)
    axes.set_ylabel("pitch (MIDI number)")
    axes.plot([], [], color="tab:orange", lw=5, alpha=0.75, label="note")
    axes.plot([], [], color="tab:blue", marker="|", ls="", markersize=11, markeredgewidth=2, label="announced")
    axes.legend(loc="upper right", ncols=2)


def _draw_delays(axes: Any, notes: list[Note]) -> None:
    """How long after its estimated onset each note was announced."""
    if notes:
        delays = [1000 * (note.emitted_at - note.onset) for note in notes]
        axes.stem([note.onset for note in notes], delays, basefmt=" ", markerfmt="C0.", linefmt="C0-")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("delay (ms)")
    axes.set_xlabel("time (s)")
