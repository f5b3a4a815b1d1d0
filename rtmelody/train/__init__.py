"""Making the model: sounds, examples, network, fit, export, evaluation."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # before anything loads Keras
