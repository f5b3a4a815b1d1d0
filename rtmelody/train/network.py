"""The network in Keras: one small LSTM whose weights all pitches share.

A melody a semitone higher is then nothing new, which makes it economical with data (pitch-wise LSTMs: Kwon et al., 2024).
Per pitch: a stack of the bins (level, rise, phase deviation) around its harmonics, and how much whole bands rise -> dense -> a
look at harmonically related pitches -> LSTM -> another look -> one logit for "this pitch sounds" and one for "it was struck
just now". A last class, silence, sees all pitches at once.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from rtmelody.core.framing import FrontEnd
from rtmelody.errors import TrainingError
from rtmelody.train.shape import Shape

HARMONICS = (0.5, 1, 2, 3, 4, 5, 6, 7, 8)
AROUND = (2, 1, 0)  # bins on either side of a harmonic that are heard: of levels, of rises, of phases
BANDS = 4  # in which an attack is looked for as a whole
OUTSIDE = np.array((-1.0, 0.0, 0.7), np.float32)  # level, rise and phase deviation of what lies outside the bank
# Semitones to the pitches that are easily mistaken for one another: neighbours, fifths, and the second to fourth harmonic.
RELATED = (-24, -19, -12, -7, -2, -1, 1, 2, 7, 12, 19, 24)


def harmonic_index(front_end: FrontEnd, shape: Shape) -> np.ndarray:
    """Where the bins around every harmonic of every pitch [pitches, stack] lie in a frame: levels, rises, phase deviations.

    What lies outside the bank is found behind the frame, in the same order.
    """
    pitches = np.arange(shape.lowest_pitch, shape.highest_pitch + 1)[:, None, None]
    offsets = 12.0 * np.log2(HARMONICS)[None, :, None]
    centre = np.rint((pitches + offsets - front_end.lowest_pitch) * front_end.bins_per_semitone).astype(int)
    stack = []
    for kind, around in enumerate(AROUND):
        place = (centre + np.arange(-around, around + 1)).reshape(shape.pitches, -1)
        outside = (place < 0) | (place >= front_end.bins)
        stack.append(np.where(outside, front_end.features + kind, kind * front_end.bins + place))
    return np.concatenate(stack, axis=1).astype(np.int32)


def related_index(pitches: int) -> np.ndarray:
    """The pitches related to every pitch [pitches, RELATED]; those that do not exist are behind the last."""
    index = np.arange(pitches)[:, None] + RELATED
    return np.where((index < 0) | (index >= pitches), pitches, index).astype(np.int32)


@keras.saving.register_keras_serializable("rtmelody")
class PitchwiseLSTM(keras.Model):
    """Feature frames -> logits of pitches and silence, and onset logits; with the state of the LSTM as explicit tensors."""

    def __init__(self, front_end: FrontEnd, shape: Shape) -> None:
        super().__init__()
        self.front_end, self.shape = front_end, shape
        self._index = harmonic_index(front_end, shape)
        units = shape.units
        self.listen = keras.layers.Dense(units, activation="relu", name="listen")
        self.tell_before = keras.layers.Dense(shape.shared, name="tell_before")
        self.relate_before = keras.layers.Dense(units, activation="relu", name="relate_before")
        self.gates_input = keras.layers.Dense(4 * units, name="gates_input")
        self.gates_state = keras.layers.Dense(4 * units, use_bias=False, kernel_initializer="orthogonal", name="gates_state")
        self.tell_after = keras.layers.Dense(shape.shared, name="tell_after")
        self.relate_after = keras.layers.Dense(units, activation="relu", name="relate_after")
        self.heads = keras.layers.Dense(2, name="heads")
        self.silence = keras.layers.Dense(1, name="silence")

    def call(self, features: Any) -> dict[str, Any]:
        """Logits of a batch of sequences [batch, time, features], from a state of zeros.

        Returns "posterior" [batch, time, pitches + 1] (silence last) and "onset" [batch, time, pitches].
        """
        batch, time = ops.shape(features)[:2]
        inputs = ops.moveaxis(self.gates_input(self._before(features)), 1, 0)
        zeros = ops.zeros((batch, self.shape.pitches, self.shape.units))
        if not self.gates_state.built:
            self.gates_state(zeros)

        def advance(state: Any, gates: Any) -> Any:
            state = self._cell(gates, *state)
            return state, state[0]

        _, hidden = ops.scan(advance, (zeros, zeros), inputs, length=time)
        return self._after(ops.moveaxis(hidden, 0, 1), features)

    def step(self, features: Any, hidden: Any, cell: Any) -> tuple[Any, Any, Any, Any]:
        """One frame [features] with state [pitches, units] twice: posterior and onset *probabilities*, and the new state."""
        hidden, cell = self._cell(self.gates_input(self._before(features)), hidden, cell)
        logits = self._after(hidden, features)
        return ops.softmax(logits["posterior"]), ops.sigmoid(logits["onset"]), hidden, cell

    def _before(self, features: Any) -> Any:
        """[..., features] -> what each pitch hears, itself and in context [..., pitches, units]."""
        outside = ops.broadcast_to(OUTSIDE, (*ops.shape(features)[:-1], len(OUTSIDE)))
        stack = ops.take(ops.concatenate((features, outside), axis=-1), self._index, axis=-1)
        everywhere = ops.concatenate((features[..., 3 * self.front_end.bins :], self._flux(features)), axis=-1)
        everywhere = ops.broadcast_to(everywhere[..., None, :], (*ops.shape(stack)[:-1], 2 + BANDS))
        heard = self.listen(ops.concatenate((stack, everywhere), axis=-1))
        return self.relate_before(_with_related(heard, self.tell_before(heard)))

    def _flux(self, features: Any) -> Any:
        """How much the bins of every band rose on average [..., BANDS]: what is struck is heard in all of them."""
        each = self.front_end.bins // BANDS
        rises = features[..., self.front_end.bins : self.front_end.bins + each * BANDS]
        return ops.mean(ops.reshape(ops.relu(rises), (*ops.shape(features)[:-1], BANDS, each)), axis=-1)

    def _cell(self, gates: Any, hidden: Any, cell: Any) -> tuple[Any, Any]:
        """The LSTM cell (Hochreiter & Schmidhuber 1997), forget gate biased open (Gers et al. 2000)."""
        write, forget, candidate, show = ops.split(gates + self.gates_state(hidden), 4, axis=-1)
        cell = ops.sigmoid(forget + 1.0) * cell + ops.sigmoid(write) * ops.tanh(candidate)
        return ops.sigmoid(show) * ops.tanh(cell), cell

    def _after(self, hidden: Any, features: Any) -> dict[str, Any]:
        """LSTM outputs [..., pitches, units] -> logits."""
        context = self.relate_after(_with_related(hidden, self.tell_after(hidden)))
        heads = self.heads(context)
        levels = features[..., None, 3 * self.front_end.bins :]
        every = (ops.max(context, axis=-2, keepdims=True), ops.mean(context, axis=-2, keepdims=True), levels)
        silence = self.silence(ops.concatenate(every, axis=-1))
        return {"posterior": ops.concatenate((heads[..., :1], silence), axis=-2)[..., 0], "onset": heads[..., 1]}


def load_weights(model: PitchwiseLSTM, path: Path) -> None:
    """Set a built network's weights to those that `weights` gave; a narrower network's become part of it.

    What is new then hears everything, but nothing hears it yet: the wider network says what the narrower one said (after
    Net2Net, Chen et al. 2016). Raises TrainingError if they are of another network.
    """
    with np.load(path) as saved:
        try:
            narrow = len(saved["heads/0"])
            for layer in model.layers:
                layer.set_weights(
                    [
                        _widened(fresh, saved[f"{layer.name}/{place}"], model.shape.units, narrow)
                        for place, fresh in enumerate(layer.get_weights())
                    ]
                )
        except (KeyError, ValueError, IndexError) as error:
            raise TrainingError(f"{path} holds the weights of another network: train without --start.") from error


def _widened(fresh: np.ndarray, old: np.ndarray, units: int, narrow: int) -> np.ndarray:
    """A layer's fresh weights with those of a narrower network in their places."""
    *rows, columns = (_places(*sizes, units, narrow) for sizes in zip(fresh.shape, old.shape, strict=True))
    wide = fresh.copy()
    wide[..., columns] = 0.0
    wide[np.ix_(*rows, columns)] = old
    return wide


def _places(wide: int, old: int, units: int, narrow: int) -> np.ndarray:
    """Where the indices of an axis come to lie: blocks of units first, of which only the beginning was there, then the rest."""
    blocks = (wide - old) // (units - narrow) if units > narrow else 0
    if blocks < 0 or wide - old != blocks * (units - narrow):
        raise ValueError(f"{old} are no part of {wide}")
    starts = units * np.arange(blocks)[:, None]
    return np.concatenate(((starts + np.arange(narrow)).ravel(), blocks * units + np.arange(old - blocks * narrow)))


def _with_related(own: Any, told: Any) -> Any:
    """Each pitch's own channels, and the shared channels of its related pitches."""
    pitches, shared = told.shape[-2:]
    padded = ops.concatenate((told, ops.zeros_like(told[..., :1, :])), axis=-2)
    related = ops.take(padded, related_index(pitches), axis=-2)
    return ops.concatenate((own, ops.reshape(related, (*ops.shape(told)[:-1], len(RELATED) * shared))), axis=-1)
