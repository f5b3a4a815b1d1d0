"""Audio files in (soundfile), note files out (mido, msgspec, csv). What is written appears whole or not at all."""

import csv
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import mido
import msgspec
import numpy as np
import soundfile
from numpy.typing import NDArray

from rtmelody.errors import AudioFileError, OutputError
from rtmelody.events import Note

BLOCK = 16_384  # samples read at a time
LAST_BLOCK = 256  # likewise where the end is not known: the block that goes beyond it is lost
STDIN = Path("-")
TICKS_PER_SECOND = 960  # of mido's default: 480 ticks a beat, 120 beats a minute
# Writers that stream do not know the length beforehand, and promise about 2 or 4 GiB.
UNKNOWN_LENGTH = 0x7FFFF000
UNKNOWN_FRAMES = (1 << 63) - 1  # what libsndfile says of a FLAC whose writer was killed
LARGEST_OGG_PAGE = 65_307
OGG_END_OF_STREAM = 4


class AudioFile:
    """An open audio file: `rate` in Hz, `frames` (samples a channel), and the samples as mono blocks.

    `frames` is 0 if nobody has counted them, because the recording broke off with a crash.
    """

    def __init__(self, name: str, file: soundfile.SoundFile) -> None:
        self.name = name
        self.rate: int = file.samplerate
        self.frames: int = 0 if file.frames == UNKNOWN_FRAMES else file.frames
        self._file = file

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Mono float32 blocks [n], the mean of the channels, to the end of the file.

        Raises AudioFileError where the file breaks off or holds values that are not finite.
        """
        count = 0
        while len(block := self._read()):
            if not np.isfinite(block).all():
                raise AudioFileError(f"{self.name} holds values that are not numbers (NaN or infinite): export it again.")
            count += len(block)
            yield block
        if not count:
            raise AudioFileError(f"{self.name} holds no sound.")
        if count < self.frames:
            raise AudioFileError(f"{self.name} is truncated: {count} of {self.frames} samples could be read.")

    def _read(self) -> NDArray[np.float32]:
        try:
            size = BLOCK if self.frames else LAST_BLOCK
            return self._file.read(size, dtype="float32", always_2d=True).mean(axis=1)  # type: ignore[no-any-return]
        except soundfile.LibsndfileError as error:
            if not self.frames:  # all that the writer came to
                return np.zeros(0, np.float32)
            raise AudioFileError(
                f"{self.name} is truncated or damaged: {error.error_string or 'it cannot be decoded'}"
            ) from error


@contextmanager
def open_audio(path: Path) -> Iterator[AudioFile]:
    """Open a WAV, FLAC, OGG or MP3 file, or standard input for `-`.

    Raises AudioFileError, with one sentence for the user, if it is missing, empty, truncated or not audio.
    """
    name = "standard input" if path == STDIN else str(path)
    with _open_bytes(path, name) as data:
        if not data.read(1):
            raise AudioFileError(f"{name} is empty.")
        _refuse_unfinished_ogg(name, data)
        data.seek(0)
        try:
            file = soundfile.SoundFile(data)
        except (soundfile.SoundFileError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split()) or "unknown format"
            raise AudioFileError(f"{name} is not audio that can be read (WAV, FLAC, OGG, MP3): {reason}") from error
        with file:
            _refuse_truncated(name, file)
            yield AudioFile(name, file)


def _open_bytes(path: Path, name: str) -> BinaryIO:
    try:
        if path == STDIN:
            return io.BytesIO(sys.stdin.buffer.read())
        file = path.open("rb")
        return file if file.seekable() else io.BytesIO(file.read())
    except AttributeError as error:  # sys.stdin is None
        raise AudioFileError("Standard input is closed.") from error
    except OSError as error:
        raise AudioFileError(f"Cannot read {name}: {error.strerror}.") from error


def _refuse_truncated(name: str, file: soundfile.SoundFile) -> None:
    """Libsndfile shortens a WAV that breaks off without a word, but its log knows what the header promised."""
    promise = re.search(r"data : (\d+) \(should be (\d+)\)", file.extra_info)
    if promise and int(promise[1]) > int(promise[2]) and int(promise[1]) < UNKNOWN_LENGTH:
        raise AudioFileError(f"{name} is truncated: it promises {promise[1]} bytes of sound and holds {promise[2]}.")
    if file.frames == 0:
        raise AudioFileError(f"{name} holds no sound.")


def _refuse_unfinished_ogg(name: str, data: BinaryIO) -> None:
    """An Ogg stream ends with a page that says so (RFC 3533); libsndfile does not mind if it is missing."""
    data.seek(0)
    if data.read(4) != b"OggS":
        return
    size = data.seek(0, io.SEEK_END)
    data.seek(max(0, size - LARGEST_OGG_PAGE))
    end = data.read()
    flags = end[end.rfind(b"OggS") + 5 :][:1]
    if not flags or not flags[0] & OGG_END_OF_STREAM:
        raise AudioFileError(f"{name} is truncated: its last page is missing.")


def read_audio(path: Path) -> tuple[NDArray[np.float32], int]:
    """A whole file as mono samples and its rate; raises what `open_audio` raises."""
    with open_audio(path) as audio:
        return np.concatenate(list(audio.blocks())), audio.rate


def to_jsonl(notes: list[Note]) -> bytes:
    """One JSON object a line, times in seconds."""
    return b"".join(msgspec.json.encode(note) + b"\n" for note in notes)


def to_csv(notes: list[Note]) -> bytes:
    """A table with a header, times in seconds."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(Note.__slots__)
    table.writerows([getattr(note, name) for name in Note.__slots__] for note in notes)
    return text.getvalue().encode()


def to_midi(notes: list[Note]) -> bytes:
    """A Standard MIDI File, type 0, resolution about 1 ms; notes begin at their estimated onsets."""
    timed = [(note.onset, 1, mido.Message("note_on", note=note.midi, velocity=note.velocity)) for note in notes]
    timed += [(note.offset, 0, mido.Message("note_off", note=note.midi)) for note in notes]
    track, clock = mido.MidiTrack(), 0
    for seconds, _, message in sorted(timed, key=lambda item: item[:2]):  # an off before the on of the same moment
        tick = round(seconds * TICKS_PER_SECOND)
        track.append(message.copy(time=tick - clock))
        clock = tick
    file = io.BytesIO()
    mido.MidiFile(type=0, tracks=[track]).save(file=file)
    return file.getvalue()


FORMATS: dict[str, Callable[[list[Note]], bytes]] = {"mid": to_midi, "jsonl": to_jsonl, "csv": to_csv}


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, unless it is there.

    Raises OutputError if that cannot be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot make the folder {folder}: {error.strerror}.") from error


def check_place(path: Path, secret: bool = False) -> None:
    """Say before long work that `write_whole` (a secret: with a `mode`) could not write its result.

    Raises OutputError if the folder is missing or read-only.
    """
    folder = (path if secret else Path(os.path.realpath(path))).parent
    if not folder.is_dir():
        raise OutputError(f"There is no folder {folder} for {path.name}: make it first.")
    if not os.access(folder, os.W_OK) and not (path.exists() and not path.is_file()):  # a device is written into
        raise OutputError(f"The folder {folder} is read-only: give {path.name} another place.")


def refuse_existing(path: Path) -> None:
    """A file whose name the user did not choose replaces nothing.

    Raises OutputError.
    """
    if path.exists():
        raise OutputError(f"{path} is there already: give -o {path} to write it anew, or another name or folder.")


def protect(read: Iterable[Path], written: Iterable[Path]) -> None:
    """Refuse to write over what is read.

    Raises OutputError.
    """
    existing = [source for source in read if source.exists()]
    for target in written:
        if target.exists() and any(target.samefile(source) for source in existing):
            raise OutputError(f"{target} is a recording or a score to be read, not a place to write: give another --output.")


def presentable(name: str) -> str:
    """A file's name as text that can be shown, whatever its bytes are."""
    return os.fsencode(name).decode("utf-8", "replace")


def write_whole(path: Path, content: bytes, mode: int | None = None) -> None:
    """Write a file that appears whole or not at all, with the user's usual permissions.

    Where `path` is a symbolic link, what it points to is written, and the link stays; a device or a pipe is written into. But
    with a `mode`, the permissions of a secret, a link is replaced and all else refused: somebody may have laid it there.

    Raises OutputError if the folder is missing, read-only or full.
    """
    try:
        # pathlib's own `resolve` raises another error where links go in a circle.
        target = Path(os.path.realpath(path)) if mode is None else path
        if target.exists() and not target.is_file():
            if mode is not None:
                raise OutputError(f"{path} is no file, and a secret is written to nothing else: give another name.")
            target.write_bytes(content)
            return
        descriptor, unfinished = tempfile.mkstemp(dir=target.parent, prefix=".rtmelody-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(unfinished).chmod(0o666 & ~_umask() if mode is None else mode)
            Path(unfinished).replace(target)
        except BaseException:
            Path(unfinished).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror}.") from error


def _umask() -> int:
    """The process's umask, which can be read only by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
