"""From what was recognized to what is sent: transposed, within a range, on a scale, with the player's velocity curve."""

from dataclasses import replace

from rtmelody.config import Midi
from rtmelody.events import Event, NoteOff, NoteOn

PITCHES = range(128)
FULL_VELOCITY = 127


class Arranger:
    """Maps each NoteOn, and its NoteOff after it, whatever is changed in between. Not thread-safe."""

    def __init__(self, settings: Midi) -> None:
        """Begin with these settings."""
        self.transpose = settings.transpose  # semitones; may be changed while notes sound
        self.muted = False  # likewise: then notes may end, but none begins
        self._settings = settings
        self._scale = settings.scale_classes()
        self._sounding: dict[int, int] = {}  # pitch that was recognized -> pitch that was sent
        self._silenced = False  # whether what sounds was ended otherwise, and its own end only follows

    @property
    def audible(self) -> bool:
        """Whether a note that was sent sounds."""
        return bool(self._sounding) and not (self.muted or self._silenced)

    def arrange(self, event: Event) -> Event | None:
        """The event to send; None for a note that lies outside the range, or while muted."""
        if isinstance(event, NoteOff):
            sent = self._sounding.pop(event.pitch, None)
            return None if sent is None else replace(event, pitch=sent)
        pitch = self._place(event.pitch)
        if pitch is None or self.muted:
            return None
        self._sounding[event.pitch] = pitch
        self._silenced = False
        return replace(event, pitch=pitch, velocity=self._velocity(event))

    def silence(self) -> None:
        """What sounds was silenced otherwise: its end is still sent, but nobody hears it."""
        self._silenced = True

    def _place(self, pitch: int) -> int | None:
        """Where a pitch is sent; the range is that of what is played, before it is transposed."""
        if not self._settings.lowest_pitch <= pitch <= self._settings.highest_pitch:
            return None
        snapped = min(self._scale_near(pitch), key=lambda near: (abs(near - pitch), near))
        return snapped + self.transpose if snapped + self.transpose in PITCHES else None

    def _scale_near(self, pitch: int) -> list[int]:
        """Pitches of the scale within half an octave."""
        return [near for near in range(pitch - 6, pitch + 7) if near % 12 in self._scale]

    def _velocity(self, event: NoteOn) -> int:
        """1…127: a curve above 1 wants to be played harder, one below 1 is easily loud."""
        share: float = (event.velocity / FULL_VELOCITY) ** self._settings.velocity_curve
        return max(1, round(FULL_VELOCITY * share))
