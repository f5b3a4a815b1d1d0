"""The size of the network, apart from Keras so that whoever only makes data need not load it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """Size of the network."""

    lowest_pitch: int = 28
    highest_pitch: int = 103
    units: int = 64
    later_units: int = 32  # of the second memory
    shared: int = 4  # channels in which a pitch tells the others about itself

    @property
    def memory(self) -> int:
        """Numbers that are remembered for each pitch: hidden and cell values of both memories."""
        return 2 * (self.units + self.later_units)

    @property
    def pitches(self) -> int:
        """Number of pitches."""
        return self.highest_pitch - self.lowest_pitch + 1
