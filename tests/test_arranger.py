"""From recognized notes to sent ones: whatever is set or changed, each NoteOn that is sent gets its NoteOff."""

from hypothesis import given
from hypothesis import strategies as st

from rtmelody import NoteOff, NoteOn
from rtmelody.config import SCALES, TONICS, Midi
from rtmelody.core.arranger import Arranger

settings = st.builds(
    Midi,
    transpose=st.integers(-48, 48),
    lowest_pitch=st.integers(0, 60),
    highest_pitch=st.integers(61, 127),
    scale=st.none() | st.builds("{} {}".format, st.sampled_from(list(TONICS)), st.sampled_from(list(SCALES))),
    velocity_curve=st.floats(0.1, 10),
)


def on(pitch, velocity=100):
    return NoteOn(0, pitch, velocity, 0, 1.0, 0.0)


@given(settings, st.lists(st.tuples(st.integers(28, 103), st.integers(1, 127), st.integers(-48, 48)), max_size=30))
def test_every_note_that_is_sent_ends(given, played):
    """Also if it is transposed anew while it sounds."""
    arranger, sounding, scale = Arranger(given), [], given.scale_classes()
    for pitch, velocity, transpose in played:
        begun = arranger.arrange(on(pitch, velocity))
        if begun:
            assert 0 <= begun.pitch <= 127
            assert 1 <= begun.velocity <= 127
            assert (begun.pitch - arranger.transpose) % 12 in scale
            assert given.lowest_pitch <= pitch <= given.highest_pitch
            sounding.append(begun.pitch)
        arranger.transpose = transpose
        ended = arranger.arrange(NoteOff(1, pitch))
        assert bool(ended) == bool(begun)
        assert not ended or ended.pitch == sounding.pop()
    assert not sounding


def test_notes_move_to_the_nearest_of_the_scale():
    arranger = Arranger(Midi(scale="C major"))
    assert [arranger.arrange(on(pitch)).pitch for pitch in range(60, 72)] == [60, 60, 62, 62, 64, 65, 65, 67, 67, 69, 69, 71]


def test_what_is_muted_or_not_sent_is_not_audible():
    arranger = Arranger(Midi(lowest_pitch=60))
    arranger.arrange(on(50))
    assert not arranger.audible
    arranger.arrange(on(60))
    assert arranger.audible
    arranger.muted = True
    assert not arranger.audible


def test_what_was_silenced_is_not_audible_but_ends():
    arranger = Arranger(Midi())
    arranger.arrange(on(60))
    arranger.silence()
    assert not arranger.audible
    assert arranger.arrange(NoteOff(1, 60)) == NoteOff(1, 60)
    arranger.arrange(on(62))
    assert arranger.audible


def test_without_settings_nothing_changes():
    arranger = Arranger(Midi())
    assert all(arranger.arrange(on(pitch, pitch)) == on(pitch, pitch) for pitch in range(1, 128))


def test_the_curve_keeps_the_ends():
    heavy, light = Arranger(Midi(velocity_curve=2.0)), Arranger(Midi(velocity_curve=0.5))
    for arranger in (heavy, light):
        assert [arranger.arrange(on(60, velocity)).velocity for velocity in (1, 127)] in ([1, 127], [11, 127])
    assert heavy.arrange(on(60, 64)).velocity < 64 < light.arrange(on(60, 64)).velocity
