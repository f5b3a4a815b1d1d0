"""Training without alignment: recordings of which only the sequence of notes is known, not when each of them sounds.

Connectionist temporal classification (Graves et al., 2006): the loss sums over every way in which the sequence can lie in the
recording. Silence is its blank, so a repeated note is known by the silence before it.
"""

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from rtmelody.core.framing import Framing, FrontEnd
from rtmelody.train.augment import augment
from rtmelody.train.network import PitchwiseLSTM
from rtmelody.train.render import FARTHEST
from rtmelody.train.shape import Shape
from rtmelody.train.sources import MOST_NOTES, RATE, Sources, WeakRecording

A_VISIT = 6  # recordings after every shard
PADDED_TO_S = 20.0  # lengths are rounded up, since each new one costs a compilation


class Teacher:
    """Teaches a network that is otherwise trained on aligned examples; it has an optimizer of its own."""

    def __init__(self, network: PitchwiseLSTM, sources: Sources, front_end: FrontEnd, shape: Shape, rate: float) -> None:
        """Teach from `sources.weak` at a constant learning rate."""
        self._sources, self._front_end, self._shape = sources, front_end, shape
        self._model = SequenceView(network)
        self._model(np.zeros((1, 2, front_end.features), np.float32))  # builds it
        optimizer = keras.optimizers.AdamW(rate, weight_decay=1e-4, global_clipnorm=1.0)
        optimizer.build(self._model.trainable_variables)  # so that a checkpoint has where to go
        self._model.compile(optimizer=optimizer, loss=keras.losses.CTC())

    @property
    def variables(self) -> list[keras.Variable]:
        """What a checkpoint must keep besides the network."""
        return list(self._model.optimizer.variables)

    def teach(self, rng: np.random.Generator) -> float:
        """One step on each of some recordings; their mean loss, in nats a note."""
        recordings = rng.choice(len(self._sources.weak), min(A_VISIT, len(self._sources.weak)), replace=False)
        losses = []
        for number in recordings:
            features, notes = example(rng, self._sources.weak[number], self._sources, self._front_end, self._shape)
            labels = np.pad(notes + 1, (0, MOST_NOTES - len(notes)))
            losses.append(float(self._model.train_on_batch(features[None], labels[None])) / len(notes))
        return float(np.mean(losses))


class SequenceView(keras.Model):
    """The same network, its logits in the order that the loss expects: the blank first."""

    def __init__(self, network: PitchwiseLSTM) -> None:
        super().__init__()
        self.network = network

    def call(self, features: Any) -> Any:
        """[batch, time, features] -> [batch, time, silence and pitches]."""
        return ops.roll(self.network(features)["posterior"], 1, axis=-1)


def example(
    rng: np.random.Generator, recording: WeakRecording, sources: Sources, front_end: FrontEnd, shape: Shape
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """A recording as a microphone might have heard it, transposed: features [hops, features], and its notes as classes."""
    down = max(-FARTHEST, shape.lowest_pitch - recording.notes.min())
    up = min(FARTHEST, shape.highest_pitch - recording.notes.max())
    transposed = int(rng.integers(down, up + 1))
    rate = 2.0 ** (transposed / 12.0)
    length = -(-len(recording.audio) / rate // round(PADDED_TO_S * RATE)) * round(PADDED_TO_S * RATE)
    audio = np.interp(np.arange(length) * rate, np.arange(len(recording.audio)), recording.audio, right=0.0).astype(np.float32)
    audio = augment(rng, audio, sources)
    return Framing(RATE, front_end).push(audio).features, recording.notes + transposed - shape.lowest_pitch
