"""The size of the network, apart from Keras so that whoever only makes data need not load it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """Size of the network."""

    lowest_pitch: int = 28
    highest_pitch: int = 103
    units: int = 64
    shared: int = 4  # channels in which a pitch tells the others about itself

    @property
    def pitches(self) -> int:
        """Number of pitches."""
        return self.highest_pitch - self.lowest_pitch + 1
