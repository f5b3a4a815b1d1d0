"""The sound of a pairing melody: soft struck tones, a music box rather than a modem."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rtmelody.pairing.melody import SLOT_S, TONE_S

PARTIALS = ((1.0, 1.0), (2.0, 0.35), (3.0, 0.12))  # of the fundamental: frequency, amplitude
ATTACK_S, RELEASE_S = 0.004, 0.020
DECAY_S = 0.25  # time constant while the tone lasts
PEAK = 0.5
LEAD_S = 0.05  # silence around it all: sound devices fade in, rooms ring out


def synthesize(notes: Sequence[int], sample_rate: float, a4_hz: float = 440.0, tone_s: float = TONE_S) -> NDArray[np.float32]:
    """The notes (MIDI numbers), one a slot, each sounding for `tone_s` of it, as mono samples in ±0.5."""
    slots = [_slot(note, sample_rate, a4_hz, tone_s) for note in notes]
    edge = np.zeros(round(LEAD_S * sample_rate), np.float32)
    return np.concatenate((edge, *slots, edge))


def _slot(note: int, sample_rate: float, a4_hz: float, tone_s: float) -> NDArray[np.float32]:
    """One tone and the silence after it."""
    frequency = a4_hz * 2.0 ** ((note - 69) / 12)
    time = np.arange(round(tone_s * sample_rate)) / sample_rate
    wave = sum(amplitude * np.sin(2 * np.pi * frequency * ratio * time) for ratio, amplitude in PARTIALS)
    shape = np.minimum(1.0, np.minimum(time / ATTACK_S, (tone_s - time) / RELEASE_S)) * np.exp(-time / DECAY_S)
    slot = np.zeros(round(SLOT_S * sample_rate), np.float32)
    slot[: len(time)] = PEAK * wave * shape / sum(amplitude for _, amplitude in PARTIALS)
    return slot
