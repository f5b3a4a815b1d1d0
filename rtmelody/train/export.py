"""Trained weights -> a model folder: the quantized TFLite graph of one step, its float32 twin, manifest and golden vectors.

Runs in a process of its own (`python -m rtmelody.train.export`), because Keras binds one backend a process: the converter needs
TensorFlow, training runs on JAX.

Quantized are the weights, to int8 with one scale a tensor, which the runtime turns back into floats once, when it loads. The
usual dynamic-range scheme quantizes activations as well: with a row a pitch that costs 2.8 times the time on tflite-runtime
2.14 (642 against 231 microseconds a step, on a loaded machine) and gains nothing on LiteRT.
"""

import hashlib
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"

import numpy as np
import tensorflow as tf
from ai_edge_quantizer import qtyping
from ai_edge_quantizer.quantizer import Quantizer

from rtmelody.core.framing import Framing, FrontEnd
from rtmelody.core.network import MANIFEST_VERSION, Manifest, Network, write_manifest
from rtmelody.train.network import PitchwiseLSTM, loaded
from rtmelody.train.shape import Shape

# TensorFlow hands outputs over in alphabetical order of their names.
OUTPUTS = ["heard", "state"]
GOLDEN_S = 0.8
GOLDEN_RATE = 44_100


def export(weights: Path, folder: Path, commit: str, front_end: FrontEnd, shape: Shape) -> None:
    """Write model.tflite, float32.tflite, manifest.json and golden.npz into `folder`, and the weights to go on from."""
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(shutil.SameFileError):
        shutil.copyfile(weights, folder / "weights.npz")
    graph = _convert(loaded(weights, front_end, shape))
    (folder / "float32.tflite").write_bytes(graph)
    quantized = _quantize(folder / "float32.tflite")
    (folder / "model.tflite").write_bytes(quantized)
    manifest = Manifest(
        version=MANIFEST_VERSION,
        name=folder.name,
        sha256=hashlib.sha256(quantized).hexdigest(),
        sha256_float=hashlib.sha256(graph).hexdigest(),
        front_end=front_end,
        lowest_pitch=shape.lowest_pitch,
        highest_pitch=shape.highest_pitch,
        memory=shape.memory,
        outputs=OUTPUTS,
        commit=commit,
    )
    write_manifest(folder, manifest)
    _write_golden(folder, front_end)


def _convert(model: PitchwiseLSTM) -> bytes:
    """The step as a float32 graph."""
    features = tf.TensorSpec((model.front_end.features,), tf.float32)
    state = tf.TensorSpec((model.shape.pitches, model.shape.memory), tf.float32)

    @tf.function(input_signature=[features, state])
    def step(features: tf.Tensor, state: tf.Tensor) -> dict[str, tf.Tensor]:
        classes, onset, state = model.step(features, state)
        return {"heard": tf.concat((classes, onset), axis=-1), "state": state}

    return bytes(tf.lite.TFLiteConverter.from_concrete_functions([step.get_concrete_function()]).convert())


def _quantize(graph: Path) -> bytes:
    """Weights of the dense layers to int8, one scale a tensor: what tflite-runtime 2.14 reads too."""
    quantizer = Quantizer(str(graph))
    weights = qtyping.TensorQuantizationConfig(num_bits=8, symmetric=True, granularity=qtyping.QuantGranularity.TENSORWISE)
    quantizer.update_quantization_recipe(
        regex=".*",
        operation_name=qtyping.TFLOperationName.FULLY_CONNECTED,
        op_config=qtyping.OpQuantizationConfig(
            weight_tensor_config=weights, compute_precision=qtyping.ComputePrecision.FLOAT, explicit_dequantize=True
        ),
    )
    return bytes(quantizer.quantize().quantized_model)


def _write_golden(folder: Path, front_end: FrontEnd) -> None:
    """Input and output of the finished graphs over three tones: whoever runs the model can check that he runs it right."""
    time = np.arange(round(GOLDEN_S * GOLDEN_RATE)) / GOLDEN_RATE
    steps = np.select([time < 0.2, time < 0.4, time < 0.6], [220.0, 440.0, 1760.0], 0.0)
    audio = (0.2 * np.sin(2 * np.pi * steps * time)).astype(np.float32)
    features = Framing(GOLDEN_RATE, front_end).push(audio).features
    golden = {"features": features}
    for name, quantized in (("quantized", True), ("float32", False)):
        network = Network(folder, quantized=quantized)
        outputs = [network.step(frame) for frame in features]
        golden[f"classes_{name}"] = np.stack([classes for classes, _ in outputs])
        golden[f"onset_{name}"] = np.stack([onset for _, onset in outputs])
    np.savez_compressed(folder / "golden.npz", **golden)


if __name__ == "__main__":
    export(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], FrontEnd(), Shape())
