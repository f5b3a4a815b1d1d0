"""The real chain, timed: a tone is played, heard, recognized and sent as MIDI, through whatever leads from output to input."""

import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event as Flag
from typing import TYPE_CHECKING

from msgspec import structs

from rtmelody.config import Config, Tuning
from rtmelody.core.recognizer import Recognizer
from rtmelody.errors import AudioDeviceError, MidiError
from rtmelody.events import Event, NoteOff, NoteOn
from rtmelody.io.audio import Loudspeaker, Microphone
from rtmelody.live import Status, StreamClock, run
from rtmelody.pairing.tones import LEAD_S, synthesize

if TYPE_CHECKING:
    from rtmelody.io.midi import MidiEcho

PITCHES = range(60, 85)
PATIENCE_S = 1.0  # for one tone to come back
SILENCE_S = (0.3, 0.4)  # between two: at random, so that no hop is favoured


@dataclass(frozen=True, slots=True)
class Trial:
    """Where the time (s) of one tone went."""

    device: float  # out and in again: buffers, converters, whatever is between
    hearing: float  # from the onset in the samples to the sample at which the note was named
    computing: float  # from the delivery of that sample to the event
    midi: float | None  # from the event to a MIDI input; None without MIDI


def measure(config: Config, count: int, done: Callable[[], None]) -> list[Trial]:
    """Play tones, and time those that come back; `done` is called after each, come back or not.

    Raises AudioDeviceError if the devices cannot be used, or no tone comes back.
    """
    microphone = Microphone(config.audio)
    loudspeaker = Loudspeaker(config.audio, microphone.sample_rate)
    with _midi_echo(config) as echo:
        session = _Session(loudspeaker, StreamClock(microphone.sample_rate), echo, count, done)
        try:
            loudspeaker.start()
            recognizer = Recognizer(microphone.sample_rate, structs.replace(config, tuning=Tuning()))  # that of the tones
            run(microphone, recognizer, session.hear, session.play, session.finished, session.clock, mute_s=math.inf)
        finally:
            loudspeaker.stop()
            microphone.stop()
    if not session.trials:
        raise AudioDeviceError(
            "No tone came back: lead the output to the input (a cable, a loudspeaker before the microphone, or JACK's "
            "connections), and turn it up."
        )
    return session.trials


class _Session:
    """One tone after the other."""

    def __init__(
        self, loudspeaker: Loudspeaker, clock: StreamClock, echo: "MidiEcho | None", count: int, done: Callable[[], None]
    ) -> None:
        self.trials: list[Trial] = []
        self.finished = Flag()
        self.clock = clock
        self._loudspeaker, self._echo, self._done = loudspeaker, echo, done
        self._rate = loudspeaker.sample_rate
        self._left = count
        self._pitch: int | None = None  # of the tone that is awaited
        self._played_at, self._next_at = 0.0, time.monotonic() + PATIENCE_S

    def play(self, _status: Status) -> None:
        """Whatever is due now."""
        now = time.monotonic()
        if self._pitch is not None and now - self._played_at > PATIENCE_S:
            self._end(now)
        if self._pitch is None and now >= self._next_at:
            self._pitch = random.choice(PITCHES)  # noqa: S311 (no secret)
            self._loudspeaker.write(synthesize([self._pitch], self._rate))
            self._played_at = now + LEAD_S

    def hear(self, event: Event) -> None:
        """A note was recognized: perhaps the tone."""
        now = time.monotonic()
        if not isinstance(event, NoteOn) or event.pitch != self._pitch:
            return
        self.trials.append(
            Trial(
                device=self.clock.time_of(event.onset) - self._played_at,
                hearing=(event.at - event.onset) / self._rate,
                computing=now - self.clock.time_of(event.at),
                midi=self._echo.trip(event) if self._echo else None,
            )
        )
        if self._echo:
            self._echo.trip(NoteOff(event.at, event.pitch))
        self._end(now)

    def _end(self, now: float) -> None:
        """Of one tone."""
        self._pitch = None
        self._left -= 1
        self._next_at = now + random.uniform(*SILENCE_S)  # noqa: S311
        self._done()
        if not self._left:
            self.finished.set()


@contextmanager
def _midi_echo(config: Config) -> Iterator["MidiEcho | None"]:
    """A port that hears itself; None without python-rtmidi, or a MIDI system to open it on."""
    echo = None
    with suppress(ImportError, MidiError):
        from rtmelody.io.midi import MidiEcho

        echo = MidiEcho(config.midi)
    try:
        yield echo
    finally:
        if echo:
            echo.close()
