"""What an ear hears of pairing melodies: the network's probabilities, slot by slot, against the form of a melody.

Recognize first, compare afterwards: nothing here knows which melody is expected. The lead-in gives role, slot clock and
tempo; each slot of the body is read by itself, and what is not clear is an erasure.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtmelody.core.framing import Framing
from rtmelody.core.network import Network
from rtmelody.pairing.melody import (
    ALARM,
    ALPHABET,
    CLOSE,
    LEAD_IN_NOTES,
    LOWEST_PITCH,
    SLOT_S,
    TONE_S,
    Melody,
    Role,
    comb_of,
    symbol_of,
)  # fmt: skip

FIRST_SIGN_S = 0.030  # a tone shows in the probabilities so long after its beginning
LAST_SIGN_S = 0.020  # and so long after its end
DETECTED = 0.35  # mean probability of a lead-in's, a close's or an alarm's notes
STRANGE = 0.6  # the same of another lead-in within a melody: two devices play at once
TEMPI = np.linspace(0.97, 1.03, 13)  # the peer's clock against ours
CERTAIN = 1.5  # the top note's score must be so many times that of any other, or the slot is an erasure
AUDIBLE = 0.02  # and at least this

FORMS = (Role.INITIATOR.lead_in, Role.RESPONDER.lead_in, ALARM)
ALARM_FORM = 2

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Disturbance:
    """An alarm, or a melody that is not one: more than one at a time, or without its close."""


class Ear:
    """Listens to one channel for melodies of a number of notes. Not thread-safe."""

    def __init__(self, sample_rate: float, network: Network, notes: int) -> None:
        """Expect bodies of `notes` notes; the network is this ear's own from now on."""
        network.reset()
        self._framing = Framing(sample_rate, network.manifest.front_end)
        self._network = network
        self._notes = notes
        self._first = LOWEST_PITCH - network.manifest.lowest_pitch
        self._hop_s = self._framing.hop / sample_rate
        self._slots = LEAD_IN_NOTES + notes + len(CLOSE)
        # A melody is looked for a slot after the oldest hop that is kept: by then all of it has been heard.
        self._start = self._hops(1)
        self._fresh = self._hops(self._slots + 2) - self._hops(len(ALARM)) - 3
        self._scores = np.zeros((self._hops(self._slots + 2), ALPHABET))
        self._strengths = np.zeros((len(self._scores), len(FORMS)))  # how well each form fits where it would begin
        self._deaf = self._alarmed = 0  # hops: a melody, and an alarm, is reported once

    def push(self, samples: NDArray[np.float32]) -> Iterator[Melody | Disturbance]:
        """Take mono samples; what they complete."""
        for features in self._framing.push(samples).features:
            classes, _ = self._network.step(features)
            self._scores[:-1], self._strengths[:-1] = self._scores[1:], self._strengths[1:]
            self._scores[-1] = classes[self._first : self._first + ALPHABET]
            self._strengths[self._fresh] = [self._match(self._fresh, form) for form in FORMS]
            self._deaf, self._alarmed = max(0, self._deaf - 1), max(0, self._alarmed - 1)
            if self._strengths[self._fresh, ALARM_FORM] >= DETECTED and not self._alarmed:  # at once, whatever else is heard
                self._alarmed = self._hops(len(ALARM))
                yield Disturbance()
            elif not self._deaf:
                yield from self._look()

    def _look(self) -> Iterator[Melody | Disturbance]:
        """The melody that begins here, if a lead-in fits better here than a little later."""
        strengths = self._strengths[self._start : self._start + self._hops(1), :ALARM_FORM]
        form = int(strengths[0].argmax())
        if strengths[0, form] >= DETECTED and strengths[0, form] == strengths[:, form].max():
            self._deaf = self._hops(self._slots - 1)
            yield self._read(self._start, Role(FORMS[form]))

    def _hops(self, slots: int) -> int:
        """Length of so many slots."""
        return round(slots * SLOT_S / self._hop_s)

    def _read(self, start: int, role: Role) -> Melody | Disturbance:
        """The melody whose lead-in begins at a hop, at the tempo that makes it clearest."""
        tempo = max(TEMPI, key=lambda tempo: self._clarity(start, role, tempo))
        slots = self._slot_scores(start, self._slots, tempo)
        close = slots[-len(CLOSE) :]
        if np.mean([scores[step] for scores, step in zip(close, CLOSE, strict=True)]) < DETECTED / 2:
            return Disturbance()
        inside = self._strengths[start + self._hops(1) : start + self._hops(self._slots - LEAD_IN_NOTES)]
        if inside.max() >= STRANGE:
            return Disturbance()
        body = slots[LEAD_IN_NOTES : LEAD_IN_NOTES + self._notes]
        ringing = [role.lead_in[-1], *(int(scores.argmax()) for scores in body)]
        return Melody(role, tuple(_read_slot(scores, place, ringing[place]) for place, scores in enumerate(body)))

    def _clarity(self, start: int, role: Role, tempo: float) -> float:
        """How well lead-in, combs and close fit at a tempo."""
        slots = self._slot_scores(start, self._slots, tempo)
        body = slots[LEAD_IN_NOTES : LEAD_IN_NOTES + self._notes]
        framing = [*role.lead_in, *CLOSE]
        fitted = [*slots[:LEAD_IN_NOTES], *slots[-len(CLOSE) :]]
        clear = sum(scores[comb_of(place) :: 2].max() for place, scores in enumerate(body))
        return float(clear + sum(scores[step] for scores, step in zip(fitted, framing, strict=True)))

    def _match(self, start: int, steps: tuple[int, ...]) -> float:
        """Mean score of a row of notes that begins at a hop."""
        slots = self._slot_scores(start, len(steps), 1.0)
        return float(np.mean([scores[step] for scores, step in zip(slots, steps, strict=True)]))

    def _slot_scores(self, start: int, count: int, tempo: float) -> Scores:
        """Mean probabilities [count, ALPHABET] while each slot's tone is heard."""
        begin = start + (np.arange(count) * SLOT_S * tempo + FIRST_SIGN_S) / self._hop_s
        end = begin + (TONE_S * tempo - FIRST_SIGN_S + LAST_SIGN_S) / self._hop_s
        edges = [(round(b), round(e)) for b, e in zip(begin, end, strict=True)]
        return np.stack([self._scores[b:e].mean(axis=0) for b, e in edges])


def _read_slot(scores: Scores, place: int, ringing: int) -> int | None:
    """The symbol of a body's slot, or an erasure: where two notes sound, neither is believed.

    Only the note before, which may still be `ringing` in the room, may be as loud.
    """
    others = scores.copy()
    best = int(others.argmax()) if others.argmax() != ringing else int(np.argsort(scores)[-2])
    others[[best, ringing]] = 0.0
    if scores[best] < AUDIBLE or scores[best] < CERTAIN * others.max():
        return None
    return symbol_of(best, place)
