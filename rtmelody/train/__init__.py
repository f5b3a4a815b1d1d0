"""Making the model: sounds, examples, network, fit, export, evaluation."""
