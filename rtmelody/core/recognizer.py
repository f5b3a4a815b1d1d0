"""The recognizer: samples in, note events out. The same object serves a live stream and a file."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rtmelody.config import Config
from rtmelody.core.framing import Framing
from rtmelody.core.network import Network, model_folder
from rtmelody.core.tracker import Tracker
from rtmelody.core.tuning import Tuner
from rtmelody.events import Event, NoteOn, Posterior


class Recognizer:
    """Recognizes the melody in one channel of audio.

    The events do not depend on how the stream is cut into blocks. Not thread-safe: one thread pushes.
    """

    def __init__(self, sample_rate: float, config: Config | None = None, network: Network | None = None) -> None:
        """Listen at a sample rate of 8 to 192 kHz; `network`, which is reset, replaces the configured model.

        Raises ConfigError or ModelError.
        """
        config = config or Config()
        self.network = network or Network(model_folder(config.model))
        self.network.reset()
        self.framing = Framing(sample_rate, self.network.manifest.front_end, config.tuning.a4_hz)
        self.tracker = Tracker(config.tracker, self.network.manifest.lowest_pitch, self.framing.hop, sample_rate)
        self._tuner = Tuner(self.framing)
        self.at = 0  # sample index up to which the stream is recognized
        self.posterior: Posterior | None = None  # of the latest hop

    @property
    def sample_rate(self) -> float:
        """In Hz."""
        return self.framing.sample_rate

    def push(self, samples: NDArray[np.float32]) -> list[Event]:
        """Take mono samples [n] (full scale ±1); the events of the hops that they complete."""
        frames = self.framing.push(samples)
        events: list[Event] = []
        for hop in range(len(frames)):
            self.at += self.framing.hop
            classes, onset = self.network.step(frames.features[hop])
            self.posterior = Posterior(self.at, classes, onset, frames.level_db.item(hop))
            events += [self._tuned(event, frames.rotation[hop]) for event in self.tracker.advance(self.posterior)]
        return events

    def flush(self) -> list[Event]:
        """End of the stream: the NoteOff of what still sounds. Samples short of a hop say nothing."""
        return self.tracker.finish(self.at)

    def reset(self) -> list[Event]:
        """Start anew at sample 0; returns the NoteOff of what still sounded."""
        events = self.flush()
        self.framing.reset()
        self.network.reset()
        self.at, self.posterior = 0, None
        return events

    def _tuned(self, event: Event, rotation: NDArray[np.complex64]) -> Event:
        """A NoteOn with its deviation."""
        return replace(event, cents=self._tuner.cents(rotation, event.pitch)) if isinstance(event, NoteOn) else event
