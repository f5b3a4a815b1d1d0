"""Trials through simulated rooms: honest pairings, messages one way, false notes over genuine ones.

Rooms with RT60 up to 0.8 s, clocks up to 2 % apart, small loudspeakers (250 Hz to 8 kHz), voices besides. A trial has a number
and is the same every time.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import butter, fftconvolve, resample_poly, sosfilt

from rtmelody.core.network import Network, model_folder
from rtmelody.errors import MelodyError
from rtmelody.pairing.air import Room, meet
from rtmelody.pairing.attempt import Rules
from rtmelody.pairing.ear import Ear
from rtmelody.pairing.frames import BYTES, Frame, Kind
from rtmelody.pairing.melody import SLOT_S, Melody, Role, notes_of
from rtmelody.pairing.party import Party
from rtmelody.pairing.session import Session
from rtmelody.pairing.spoken import SpokenSession
from rtmelody.pairing.tones import synthesize
from rtmelody.train.augment import HELD_OUT_LANGUAGES, make_babble, make_rooms
from rtmelody.train.sources import RATE as SOURCE_RATE
from rtmelody.train.sources import audio_files, read_audio

RATE = 48_000
CLOCK = 0.02
LONGEST_RT60_S = 0.8
GAIN = 0.5
ROOMS, VOICES = 30, 30
VOICES_BESIDE_DB = 20
SEED = 31
FRAMES = {"128 bits": Kind.COMMITMENT, "256 bits": Kind.RESPONDER_KEY}

Samples = np.ndarray
_place: list[Any] = []  # what every worker process keeps


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Room responses, each of energy 1 and through small loudspeakers, and voices [samples], all at RATE."""

    rooms: list[Samples]
    voices: list[Samples]


def settle(folder: Path, recordings: Path | None) -> None:
    """What every worker process keeps."""
    _place.extend((surroundings(folder, recordings), {role: Network(model_folder("melody")) for role in Role}))


def surroundings(folder: Path, recordings: Path | None) -> Surroundings:
    """Made once, then read."""
    import pyroomacoustics

    list(make_rooms(folder / "rooms", ROOMS, SEED))
    list(make_babble(folder / "voices", VOICES, SEED, HELD_OUT_LANGUAGES))
    measured = [*audio_files(folder / "rooms"), *(audio_files(recordings / "rir") if recordings else ())]
    band = butter(2, (250, 8_000), "bandpass", fs=RATE, output="sos")
    rooms = []
    for response in map(_at_rate, measured):
        direct = response[int(np.argmax(np.abs(response))) :]
        if pyroomacoustics.experimental.measure_rt60(direct, RATE, decay_db=20) <= LONGEST_RT60_S:
            heard = sosfilt(band, direct).astype(np.float32)
            rooms.append(heard / np.sqrt(np.sum(heard**2)))
    return Surroundings(rooms, [_at_rate(path) for path in audio_files(folder / "voices")])


def pairing(run: int, level_db: float, kind: type[Session | SpokenSession]) -> dict[str, Any]:
    """One honest pairing through a room of its own."""
    place, networks = _place
    rng = np.random.default_rng((SEED, run))
    clocks = {Role.INITIATOR: RATE * (1 + rng.uniform(-CLOCK, CLOCK)), Role.RESPONDER: RATE}
    parties = {role: Party(kind(role, rng.bytes), clocks[role], networks[role]) for role in Role}
    response = place.rooms[rng.integers(len(place.rooms))]
    voices = place.voices[rng.integers(len(place.voices))]
    loudness = _loudness(GAIN * fftconvolve(synthesize(notes_of(Role.INITIATOR, (0, 3, 5, 7)), RATE), response))
    bed = voices * loudness / _loudness(voices) * 10 ** (-level_db / 20)
    at = dict.fromkeys(Role, int(rng.integers(len(bed))))

    def noise(role: Role, count: int) -> Samples:
        at[role] += count
        return np.take(bed, np.arange(at[role] - count, at[role]), mode="wrap").astype(np.float32)

    meeting = meet(parties, RATE, Room(response=response, gain=GAIN, noise=noise))
    attempts = [party.attempt for party in parties.values()]
    keys = {attempt.result.session_key if attempt.result else None for attempt in attempts}
    return {
        "ok": len(keys) == 1 and None not in keys,
        "seconds": len(meeting.heard[Role.RESPONDER]) / RATE,
        "errors": [type(attempt.error).__name__ for attempt in attempts if attempt.error],
    }


def one_way(run: int, level_db: float, payload: str) -> dict[str, Any]:
    """A melody from one device to the other: the short one, or a frame."""
    place, networks = _place
    rng = np.random.default_rng((SEED, 4, run))
    frame = Frame(FRAMES[payload], rng.bytes(BYTES[FRAMES[payload]])) if payload in FRAMES else None
    symbols = frame.symbols() if frame else tuple(rng.integers(0, 8, Rules().notes).tolist())
    said = synthesize(notes_of(Role.INITIATOR, symbols), RATE)
    ear = Ear(RATE, networks[Role.RESPONDER], len(symbols))
    air = np.random.default_rng((SEED, 1, run))  # the same for every modem
    heard = list(ear.push(through_air(air, said, place, level_db)))
    return {"ok": _understood(heard, symbols, frame), "seconds": len(said) / RATE, "errors": []}


def overlay(run: int, louder_db: float) -> dict[str, Any]:
    """Whether a device accepts a false melody that is played over a genuine one, at the very same moment.

    An attacker who owns the network knows the moment, and lets his tones last the whole slot, which covers what rings.
    """
    place, networks = _place
    rng = np.random.default_rng((SEED, 3, run))
    genuine, false = (tuple(rng.integers(0, 8, Rules().notes).tolist()) for _ in range(2))
    over = synthesize(notes_of(Role.INITIATOR, false), RATE, tone_s=SLOT_S)
    both = synthesize(notes_of(Role.INITIATOR, genuine), RATE) + over * 10 ** (louder_db / 20)
    heard = list(Ear(RATE, networks[Role.RESPONDER], len(false)).push(through_air(rng, both, place, VOICES_BESIDE_DB)))
    return {"ok": _understood(heard, false, None), "seconds": len(both) / RATE, "errors": []}


def through_air(rng: np.random.Generator, said: Samples, place: Surroundings, level_db: float, clock: float = CLOCK) -> Samples:
    """What a microphone, whose clock is up to so much off, hears of a message, with silence before and after it."""
    drift = 1 + rng.uniform(-clock, clock)
    slower = np.interp(np.arange(int(len(said) / drift)) * drift, np.arange(len(said)), said)
    padded = np.concatenate((np.zeros(RATE // 2), slower, np.zeros(2 * RATE + len(said) // 10)))
    heard = GAIN * fftconvolve(padded, place.rooms[rng.integers(len(place.rooms))])[: len(padded)]
    voices = np.roll(place.voices[rng.integers(len(place.voices))], rng.integers(RATE))
    bed = np.resize(voices, len(heard)) * _loudness(heard) / _loudness(voices) * 10 ** (-level_db / 20)
    return (heard + bed).astype(np.float32)


def _at_rate(path: Path) -> Samples:
    return resample_poly(read_audio(path), RATE, SOURCE_RATE).astype(np.float32)


def _loudness(samples: Samples) -> float:
    """RMS where it is not silent."""
    return float(np.sqrt(np.mean(samples[np.abs(samples) > 0.02 * np.max(np.abs(samples))] ** 2)))


def _understood(heard: list[Any], symbols: tuple[int, ...], frame: Frame | None) -> bool:
    melodies = [one for one in heard if isinstance(one, Melody)]
    if len(heard) != 1 or not melodies or melodies[0].role is not Role.INITIATOR or melodies[0].contested:
        return False
    if frame is None:
        return melodies[0].distance(symbols) <= Rules().tolerance
    try:
        return Frame.read(frame.kind, melodies[0].symbols) == frame
    except MelodyError:
        return False
