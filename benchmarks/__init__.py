"""Measurements against the world: accuracy and speed, as committed in results/."""
