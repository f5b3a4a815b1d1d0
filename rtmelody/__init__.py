"""rtmelody: listens to a microphone and sends MIDI notes while the note still sounds.

from rtmelody import Recognizer
recognizer = Recognizer(sample_rate=48_000)
events = recognizer.push(samples) + recognizer.flush()
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtmelody.config import Config, load_config
    from rtmelody.core.recognizer import Recognizer
    from rtmelody.errors import RtmelodyError
    from rtmelody.events import Event, Note, NoteOff, NoteOn, notes

__version__ = version("rtmelody")

# Loaded on first use: the command line must answer --help before Numba has stirred.
_HOME = {
    "Config": "config",
    "load_config": "config",
    "Recognizer": "core.recognizer",
    "RtmelodyError": "errors",
    "Event": "events",
    "Note": "events",
    "NoteOff": "events",
    "NoteOn": "events",
    "notes": "events",
}
__all__ = ["Config", "Event", "Note", "NoteOff", "NoteOn", "Recognizer", "RtmelodyError", "load_config", "notes"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
