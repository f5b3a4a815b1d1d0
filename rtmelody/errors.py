"""Everything that can go wrong for a user, each with its own exit code.

The message is one sentence that says what is wrong and what to do; the command line prints it and exits with `exit_code`.
"""


class RtmelodyError(Exception):
    """Base of every error that rtmelody raises on purpose."""

    exit_code = 1


class ConfigError(RtmelodyError):
    """A configuration has an unknown key, a wrong type or an impossible combination."""

    exit_code = 3


class ModelError(RtmelodyError):
    """A model is missing, damaged, of another version or does not fit the front end."""

    exit_code = 4


class AudioFileError(RtmelodyError):
    """An audio file is missing, empty, truncated, not audio, or holds values that are not numbers."""

    exit_code = 5


class AudioDeviceError(RtmelodyError):
    """There is no PortAudio, no such device, or the device refuses the settings."""

    exit_code = 6


class MidiError(RtmelodyError):
    """There is no MIDI backend or no such port."""

    exit_code = 7


class OutputError(RtmelodyError):
    """A result cannot be written where the user wants it."""

    exit_code = 8


class TrainingError(RtmelodyError):
    """Training lacks a source, a program or a package."""

    exit_code = 9


class ScoreError(RtmelodyError):
    """A score is missing, cannot be read, or has no melody."""

    exit_code = 10


class MonitorError(RtmelodyError):
    """The monitor cannot serve: its packages are missing, or its address is taken."""

    exit_code = 11


class PairingError(RtmelodyError):
    """Two devices could not be paired; no key was made known."""

    exit_code = 20


class ProtocolError(PairingError):
    """The peer said something that an honest one never says."""

    exit_code = 21


class MelodyError(PairingError):
    """What was heard is not exactly one melody of the expected form."""

    exit_code = 22


class MismatchError(PairingError):
    """The melody that was heard is not the one that this device derived: somebody may sit in between."""

    exit_code = 23


class InterferenceError(PairingError):
    """Another melody, or an alarm, was heard."""

    exit_code = 24


class PairingTimeoutError(PairingError):
    """The peer stayed silent for too long."""

    exit_code = 25


class LockedOutError(PairingError):
    """Too many attempts have failed in a row."""

    exit_code = 26
