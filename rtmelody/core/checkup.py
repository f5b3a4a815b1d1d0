"""What ten seconds of an input say about it: level, noise floor, clipping, hum, tuning, and what to set."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rtmelody.config import HIGHEST_A4_HZ, LOWEST_A4_HZ
from rtmelody.core.framing import Framing
from rtmelody.core.tuning import Tuner
from rtmelody.events import Note
from rtmelody.timebase import hops

FRAME_S = 0.05
QUIET = 10  # percentile of the frames' levels that is the noise floor
CLIPPED = 0.999  # of full scale
LOWEST_DB = -140.0
MAINS_HZ = (50.0, 60.0)
HARMONICS = 4
HUM_DB = 15.0  # that the mains stand out of the noise around them
HUM_AROUND_HZ = 15.0
HUM_WIDTH_HZ = 1.5
QUIETER_S = 0.5  # pieces of sound, of which the quieter half is searched for hum
FEWEST_NOTES = 4  # before anything is said about tuning
BEFORE_S, AFTER_S = 0.15, 0.4  # a note, and it is not yet, or no longer, silent
MARGIN_DB = 6.0  # of the gate above what is heard in silence
SOFT_DB, NOISY_DB = -30.0, -45.0
OUT_OF_TUNE_CENTS = 5.0
ATTACK_S = 0.1


@dataclass(frozen=True, slots=True)
class Checkup:
    """What was found. Levels are in dB relative to full scale."""

    seconds: float
    peak_db: float
    floor_db: float
    clipped: int  # samples
    silent: bool  # nothing but zeros came
    hum_hz: float | None
    notes: int
    cents: float | None  # median deviation of the notes
    a4_hz: float | None  # the tuning in which they deviate by nothing
    gate_db: float | None  # below which there was only noise; None if there was no pause, or no sound

    def advice(self) -> list[str]:
        """What to do about it, a sentence each; empty if all is well."""
        if self.silent:
            return ["Nothing but zeros came: is the input muted, or the wrong channel chosen (--channel)?"]
        found = []
        if self.clipped:
            found.append(f"{self.clipped} samples are clipped: turn the input down.")
        elif self.peak_db < SOFT_DB:
            found.append(f"The loudest moment is at {self.peak_db:.0f} dB: turn the input up, or play nearer.")
        if self.floor_db > NOISY_DB:
            found.append(f"The noise floor is at {self.floor_db:.0f} dB: look for fans, an open window, or too much gain.")
        if self.hum_hz:
            found.append(f"There is hum at {self.hum_hz:.0f} Hz: look for a ground loop, or another cable.")
        if not self.notes:
            found.append("No note was recognized: play or sing while this listens.")
        if self.cents is not None and self.a4_hz and abs(self.cents) > OUT_OF_TUNE_CENTS:
            found.append(f"The notes are {self.cents:+.0f} cents off: set tuning.a4_hz to {self.a4_hz:.1f}, or tune.")
        return found


def examine(
    samples: NDArray[np.float32],
    sample_rate: float,
    played: Sequence[Note],
    levels: Sequence[tuple[float, float]],
    a4_hz: float,
) -> Checkup:
    """Look at an input's samples [n], the notes recognized in them, and the loudest resonator's levels (at s, dB)."""
    frames = _frames(samples, round(FRAME_S * sample_rate))
    silence_db = [level for at, level in levels if not any(n.onset - BEFORE_S < at < n.offset + AFTER_S for n in played)]
    cents = float(np.median([note.cents for note in played])) if len(played) >= FEWEST_NOTES else None
    return Checkup(
        seconds=len(samples) / sample_rate,
        peak_db=_db(float(np.abs(samples).max(initial=0.0))),
        floor_db=float(np.percentile([_db(float(np.sqrt(np.mean(frame**2)))) for frame in frames], QUIET)),
        clipped=int(np.count_nonzero(np.abs(samples) >= CLIPPED)),
        silent=not samples.any(),
        hum_hz=_hum(samples, sample_rate),
        notes=len(played),
        cents=cents,
        a4_hz=None if cents is None else float(np.clip(a4_hz * 2 ** (cents / 1200), LOWEST_A4_HZ, HIGHEST_A4_HZ)),
        gate_db=float(np.percentile(silence_db, 95)) + MARGIN_DB if silence_db and samples.any() else None,
    )


def settled(samples: NDArray[np.float32], sample_rate: float, played: Sequence[Note], a4_hz: float) -> list[Note]:
    """Notes recognized in samples [n], each with the deviation of all that is heard of it after its attack.

    That says more than its first sign, with which a player has to be content. Those that end sooner keep theirs.
    """
    framing = Framing(sample_rate, a4_hz=a4_hz)
    tuner, attack = Tuner(framing), hops(ATTACK_S, framing.hop / sample_rate)

    def cents(note: Note) -> float:
        framing.reset()
        rotation = framing.push(samples[round(note.onset * sample_rate) : round(note.offset * sample_rate)]).rotation[attack:]
        return tuner.cents(rotation.sum(axis=0), note.midi) if len(rotation) else note.cents

    return [replace(note, cents=cents(note)) for note in played]


def _frames(samples: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Whole frames [count, size]; one, padded, of a shorter sound."""
    padded = np.pad(samples, (0, max(0, size - len(samples))))
    return padded[: len(padded) // size * size].reshape(-1, size)


def _hum(samples: NDArray[np.float32], sample_rate: float) -> float | None:
    """The frequency of the mains if that, and its harmonics, stand out in the quieter half of the sound."""
    pieces = _frames(samples, round(QUIETER_S * sample_rate))
    quieter = pieces[np.argsort([float(np.sum(piece**2)) for piece in pieces])[: max(1, len(pieces) // 2)]]
    window = np.hanning(pieces.shape[1])
    power = np.mean(np.abs(np.fft.rfft(quieter * window, axis=1)) ** 2, axis=0) + 1e-20
    frequencies = np.fft.rfftfreq(pieces.shape[1], 1 / sample_rate)

    def outstanding_db(mains: float) -> float:
        """The mean over the harmonics, but no more than twice the first: music has its own."""
        found = []
        for harmonic in mains * np.arange(1, HARMONICS + 1):
            distance = np.abs(frequencies - harmonic)
            noise = np.median(power[(distance > 2 * HUM_WIDTH_HZ) & (distance < HUM_AROUND_HZ)])
            found.append(10 * np.log10(power[distance <= HUM_WIDTH_HZ].max() / noise))
        return float(min(np.mean(found), 2 * found[0]))

    mains = max(MAINS_HZ, key=outstanding_db)
    return mains if outstanding_db(mains) > HUM_DB else None


def _db(amplitude: float) -> float:
    return max(LOWEST_DB, 20 * float(np.log10(max(amplitude, 1e-12))))
