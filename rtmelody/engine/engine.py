"""The engine as its parent sees it: a process that is started, read, commanded, and replaced when it dies."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Self

from rtmelody.config import Config, Speed
from rtmelody.engine.board import Board, Snapshot, shared_memory
from rtmelody.engine.performance import HUNG, OF_THE_GROUP, Plan, serve
from rtmelody.errors import AudioDeviceError, RtmelodyError
from rtmelody.events import ToldAll, ToldOff, ToldOn, ToldProvisional

STARTING_S = 60.0  # Python, Numba and the model are loaded meanwhile, perhaps compiled
BEAT_S = 5.0  # an engine that has shown nothing for so long hangs
STOPPING_S = 12.0  # the sound system, MIDI and the disk each have their own, shorter patience
LOOKS_S = 1.0  # `tend` is called more often, unless this process was suspended, and then the engine was as well
STDIN = "-"  # the device that is standard input
HOPELESS = 5  # processes in a row that died before they listened


class Engine:
    """Listens, and plays what it hears, in a process of its own, from `with` to its end. Not thread-safe."""

    def __init__(self, config: Config, midi: bool = True, record: Path | None = None, provisional: bool = False) -> None:
        """Be ready to start; `record` is a folder for the session's sound, events and notes, `provisional` tells of more.

        Raises AudioDeviceError if standard input is wanted and cannot be had.
        """
        self._config, self._plan = config, Plan(midi=midi, record=record, provisional=provisional, began=time.monotonic())
        self._failed = 0  # processes in a row
        self._next = 0  # event to be read
        self._missed = 0  # events that came faster than they were read, and were not told of yet
        self.snapshot = Snapshot()  # the engine's latest state, as of the last `tend`
        self._looked_at = self._lenient_until = 0.0
        self._wanted: dict[str, Any] = {}  # the last value of each setting, for the next process
        self._sounding: ToldOn | None = None  # as far as `events` has told
        self._announced: ToldProvisional | None = None  # likewise
        self._left: list[ToldAll] = []  # by a process that died
        self._stdin = _standard_input() if config.audio.device == STDIN else None
        self.ended = False  # standard input has, and all of it was heard

    def __enter__(self) -> Self:
        """Start the process."""
        self._start(None)
        return self

    def __exit__(self, *_: object) -> None:
        """Let it end its notes and close its devices."""
        self._command(None)
        self._process.join(STOPPING_S)
        self._bury()
        self.snapshot = self._board.snapshot() or self.snapshot

    def tend(self) -> list[str]:
        """Look after the process, a few times a second; lines about what went wrong since the last call and was survived.

        Raises RtmelodyError if it cannot go on.
        """
        code = self._process.exitcode  # asked before reading, so that the last report is not missed
        lines = self._reports()
        if self._missed:
            lines.append(f"{self._missed} events came faster than they were read.")
            self._missed = 0
        if shown := self._board.snapshot():
            self.snapshot = shown
            self._failed = 0 if shown.sample_rate else self._failed
        now = time.monotonic()
        if now - self._looked_at > LOOKS_S:
            self._lenient_until = now + BEAT_S
        self._looked_at = now
        if trouble := self._trouble(code):
            lines.append(trouble)
            self._replace()
        return lines

    def events(self) -> list[ToldAll]:
        """What was recognized since the last call."""
        news = self._board.events(self._next)
        self._next, self._missed = news.next, self._missed + news.missed
        found, self._left = [*self._left, *news.events], []
        for event in found:
            if isinstance(event, ToldProvisional):
                self._announced = event if event.fate == "announced" else None
            else:
                self._sounding = event if isinstance(event, ToldOn) else None
        return found

    def panic(self) -> None:
        """Silence every receiver."""
        self._command(("panic", None))

    def mute(self, muted: bool) -> None:
        """Send no more notes, or send them again."""
        self._set("mute", muted)

    def transpose(self, semitones: int) -> None:
        """Send notes so much higher from now on."""
        self._set("transpose", semitones)

    def threshold(self, probability: float) -> None:
        """Let a pitch be a candidate from this probability on."""
        self._set("threshold", probability)

    def speed(self, speed: Speed) -> None:
        """Name notes sooner, or more surely."""
        self._set("speed", speed)

    def record(self, folder: Path | None) -> None:
        """Record into a new folder of this one from now on, or no more."""
        self._set("record", folder)

    def _set(self, name: str, value: Any) -> None:
        self._wanted[name] = value
        self._command((name, value))

    def _command(self, command: tuple[str, Any] | None) -> None:
        """Have the process do something; None ends it."""
        try:
            self._pipe.send(command)
        except OSError:  # it has died: `tend` notices
            return

    def _start(self, before: Snapshot | None) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        memory = shared_memory()
        self._board, self._next, self._started = Board(memory), 0, time.monotonic()
        arguments = (self._config, self._plan, memory, theirs, self._stdin, before)
        self._process: SpawnProcess = context.Process(target=serve, args=arguments, name="rtmelody engine", daemon=True)
        with _group_signals_blocked():  # until it ignores them itself
            self._process.start()
        theirs.close()  # so that its death closes the pipe
        for setting in self._wanted.items():
            self._command(setting)

    def _reports(self) -> list[str]:
        """What the process has said."""
        lines: list[str] = []
        try:
            while self._pipe.poll():
                said = self._pipe.recv()
                if isinstance(said, RtmelodyError):
                    raise said
                lines.append(said)
        except (EOFError, OSError):
            self._process.join(STOPPING_S)
        return lines

    def _trouble(self, code: int | None) -> str:
        """Why the process, which has ended with a code or has not, must be replaced; empty if it need not be."""
        if code == 0 and self._stdin:
            self.ended = True
            return ""
        if code == HUNG:
            return "The sound system hung: starting anew."
        if code is not None:
            return f"The engine ended (code {code}): starting anew."
        beat = self.snapshot.at if self.snapshot.at > self._started else self._started + STARTING_S - BEAT_S
        now = time.monotonic()
        return "The engine hung: starting anew." if now - beat > BEAT_S and now > self._lenient_until else ""

    def _replace(self) -> None:
        """Raises AudioDeviceError if one process after the other dies."""
        self._failed += 1
        if self._failed > HOPELESS:
            raise AudioDeviceError("The engine dies whenever it is started: see what it wrote, and report it.")
        self._bury()
        self._left = self.events()
        if self._announced:
            self._left.append(
                ToldProvisional(max(self._announced.at, self.snapshot.seconds), self._announced.midi, "retracted")
            )
        if self._sounding:  # the note that its death has ended
            self._left.append(ToldOff(max(self._sounding.at, self.snapshot.seconds), self._sounding.midi))
        self._start(self.snapshot)

    def _bury(self) -> None:
        """Make sure that the process is gone."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _standard_input() -> Connection:
    """A copy of it that another process can be given."""
    if sys.platform == "win32":
        raise AudioDeviceError("Windows cannot hand on standard input: use `rtmelody transcribe -`, or a device.")
    if sys.stdin and sys.stdin.isatty():
        raise AudioDeviceError("Standard input is a terminal: lead samples into it (arecord -f S16_LE -r 48000 | rtmelody …).")
    try:
        return Connection(os.dup(0), writable=False)
    except OSError as error:
        raise AudioDeviceError("Standard input is closed.") from error


@contextmanager
def _group_signals_blocked() -> Iterator[None]:
    """A process that is started meanwhile gets no Ctrl-C; this one gets it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    group = {getattr(signal, name) for name in OF_THE_GROUP if hasattr(signal, name)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, group)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
