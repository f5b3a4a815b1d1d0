"""Notes before they are certain: what the tracker's candidates look like to somebody who watches.

Each is announced at its first sign and has exactly one end: it is confirmed by a NoteOn of its pitch, corrected (another pitch
takes its place) or retracted.
"""

from collections.abc import Sequence

from rtmelody.events import Event, NoteOn, Provisional


class Herald:
    """Tells of candidates, hop by hop."""

    def __init__(self) -> None:
        self._open: int | None = None  # pitch that was announced last, until its end

    def advance(self, at: int, pending: int | None, events: Sequence[Event]) -> list[Provisional]:
        """What to tell at sample `at`, where the tracker decided `events` and has a candidate `pending` (MIDI number)."""
        found = []
        for event in events:
            if isinstance(event, NoteOn):
                found += [*self._turn(at, event.pitch), Provisional(at, event.pitch, "confirmed")]
                self._open = None
        return found + self._turn(at, pending)

    def _turn(self, at: int, pitch: int | None) -> list[Provisional]:
        """From the announced pitch to another, or to none."""
        before, self._open = self._open, pitch
        if before == pitch:
            return []
        ended = [] if before is None else [Provisional(at, before, "retracted" if pitch is None else "corrected")]
        return ended if pitch is None else [*ended, Provisional(at, pitch, "announced")]
