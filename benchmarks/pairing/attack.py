"""A man in the middle who has no sound of his own: how often the two melodies that he cannot choose are alike."""

from collections.abc import Callable, Sequence

from rtmelody.pairing.attempt import Play, Rules, Send
from rtmelody.pairing.melody import CLOSE, LEAD_IN_NOTES, LOWEST_PITCH, Melody, Role, symbol_of
from rtmelody.pairing.session import Session


def man_in_the_middle(rules: Rules, entropy: Callable[[int], bytes]) -> bool:
    """Whether two victims, each talking to the attacker, accept each other's melodies."""
    initiator, melody = _victim(Role.INITIATOR, rules, entropy)
    responder, _ = _victim(Role.RESPONDER, rules, entropy)
    outputs = responder.heard(perfectly_heard(melody))
    if responder.error:
        return False
    initiator.played()
    (answer,) = (output for output in outputs if isinstance(output, Play))
    initiator.heard(perfectly_heard(answer.notes))
    return initiator.error is None


def _victim(role: Role, rules: Rules, entropy: Callable[[int], bytes]) -> tuple[Session, tuple[int, ...]]:
    """A device that has agreed on a key with an attacker, and the melody that either plays (a responder's attacker's)."""
    victim, attacker = Session(role, entropy, rules), Session(role.other, entropy, rules)
    towards = {id(victim): attacker, id(attacker): victim}
    queue = [(session, output) for session in (victim, attacker) for output in session.start()]
    melody: tuple[int, ...] = ()
    while queue:
        session, output = queue.pop(0)
        if isinstance(output, Send):
            queue += [(towards[id(session)], one) for one in towards[id(session)].receive(output.data)]
        elif isinstance(output, Play):
            melody = output.notes
    return victim, melody


def perfectly_heard(notes: Sequence[int]) -> Melody:
    """What a perfect ear makes of what was played."""
    steps = [note - LOWEST_PITCH for note in notes]
    role = next(role for role in Role if role.lead_in == tuple(steps[:LEAD_IN_NOTES]))
    body = steps[LEAD_IN_NOTES : -len(CLOSE)]
    return Melody(role, tuple(symbol_of(step, place) for place, step in enumerate(body)))
