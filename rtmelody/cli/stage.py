"""What `rtmelody listen` shows and takes: a tuner, meters and keys on a terminal, or lines for programs."""

import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from rtmelody.config import Config
    from rtmelody.engine.board import Snapshot
    from rtmelody.engine.engine import Engine
    from rtmelody.events import ToldAll, ToldOn

REFRESH_S = 0.05
METER, TUNER = 24, 41  # characters
FLOOR_DB, CEILING_DB = -72.0, 0.0
WIDEST_CENTS = 50.0
RECENT = 50  # notes whose latency counts
HIGHEST_TRANSPOSITION = 48
STEP = 0.05  # of the threshold
UP, DOWN = "\x1b[A", "\x1b[B"
KEY = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1bO.|.", re.DOTALL)  # a control sequence (ECMA-48) is one key
ON_WINDOWS = {"\xe0H": UP, "\xe0P": DOWN}
MOST_TYPED = 1024  # bytes at a time: an arrow is three, and must not be cut
HELP = "p panic   m mute   ↑ ↓ semitone   < > octave   [ ] threshold   s speed   q quit"


class Lines:
    """Events as JSON lines, or nothing, on standard output; faults on standard error."""

    def __init__(self, as_json: bool, quiet: bool) -> None:
        self._as_json, self._quiet = as_json, quiet

    def event(self, event: "ToldAll") -> None:
        """Print it for a program."""
        import msgspec

        if self._as_json:
            click.echo(msgspec.json.encode(event))

    def fault(self, line: str) -> None:
        """Say what went wrong."""
        click.echo(f"rtmelody: {line}", err=True)

    def show(self, snapshot: "Snapshot") -> None:
        """Nothing: lines are for events."""

    def close(self) -> None:
        """Nothing is open."""

    def end(self, snapshot: "Snapshot") -> None:
        """Sum up."""
        if not (self._as_json or self._quiet):
            click.echo(f"Listened for {snapshot.seconds:.0f} s, {snapshot.notes} notes, {losses(snapshot)}.")


class Terminal(Lines):
    """The same for people: a view that is drawn anew twenty times a second."""

    def __init__(self, controls: "Controls") -> None:
        from rich.live import Live

        super().__init__(as_json=False, quiet=False)
        self._controls = controls
        self._live = Live(auto_refresh=False, transient=True)
        self._shown_at = 0.0
        self._last: ToldOn | None = None
        self._latencies: deque[float] = deque(maxlen=RECENT)

    def event(self, event: "ToldAll") -> None:
        """Remember the latest note."""
        from rtmelody.events import ToldOn

        if isinstance(event, ToldOn):
            self._last = event
            self._latencies.append(event.at - event.onset)

    def fault(self, line: str) -> None:
        """Say what went wrong, above the view."""
        self._live.console.print(f"rtmelody: {line}", highlight=False, markup=False)

    def show(self, snapshot: "Snapshot") -> None:
        """Draw."""
        if time.monotonic() - self._shown_at < REFRESH_S:
            return
        if not self._live.is_started:
            self._live.start()
        self._shown_at = time.monotonic()
        self._live.update(self._view(snapshot), refresh=True)

    def close(self) -> None:
        """Take the view away."""
        self._live.stop()

    def _view(self, snapshot: "Snapshot") -> Any:
        from rich.text import Text

        late = f"{1000 * self._latencies[-1]:.0f} ms, median {1000 * median(self._latencies):.0f}" if self._latencies else "-"
        state = "listening" if snapshot.sample_rate else "waiting for the input"
        lines = (
            self._tuner(snapshot),
            f"level    {meter(snapshot.level_db)} {snapshot.level_db:4.0f} dB",
            f"latency  {late}",
            f"notes    {snapshot.notes}   {self._controls}",
            f"engine   {state}{', real-time priority' if snapshot.realtime else ''}; {losses(snapshot)}",
            HELP,
        )
        return Text("\n".join(lines))

    def _tuner(self, snapshot: "Snapshot") -> str:
        from rtmelody.events import note_name

        if self._last is None:
            return f"         {needle(None)}"
        sounding = "♪" if snapshot.sounding is not None else " "
        cents = self._last.cents if snapshot.sounding is None or snapshot.cents is None else snapshot.cents
        name, confidence = note_name(self._last.midi), self._last.confidence
        return (
            f"{sounding} {name:5s}  {needle(cents)} {cents:+4.0f} cents  {confidence:4.0%} sure   A4 = {snapshot.a4_hz:.1f} Hz"
        )


class Controls:
    """What the keys change."""

    def __init__(self, engine: "Engine", config: "Config", stopping: threading.Event) -> None:
        self._engine, self._stopping = engine, stopping
        self.muted, self.transposed = False, config.midi.transpose
        self.threshold, self._lowest = config.tracker.on_probability, config.tracker.off_probability
        self.speed = config.tracker.speed
        self._actions: dict[str, Callable[[], None]] = {
            "p": engine.panic,
            "q": stopping.set,
            "m": self._mute,
            UP: lambda: self._transpose(1),
            DOWN: lambda: self._transpose(-1),
            ">": lambda: self._transpose(12),
            "<": lambda: self._transpose(-12),
            "]": lambda: self._move_threshold(STEP),
            "[": lambda: self._move_threshold(-STEP),
            "s": self._next_speed,
        }

    def __str__(self) -> str:
        muted = "   MUTED" if self.muted else ""
        return f"transposed {self.transposed:+d}   threshold {self.threshold:.2f}   {self.speed}{muted}"

    def press(self, typed: str) -> None:
        """Carry out what was typed."""
        for key in KEY.findall(typed):
            self._actions.get(key, lambda: None)()

    def _mute(self) -> None:
        self.muted = not self.muted
        self._engine.mute(self.muted)

    def _transpose(self, semitones: int) -> None:
        self.transposed = max(-HIGHEST_TRANSPOSITION, min(HIGHEST_TRANSPOSITION, self.transposed + semitones))
        self._engine.transpose(self.transposed)

    def _move_threshold(self, step: float) -> None:
        self.threshold = max(self._lowest, min(1.0 - STEP, self.threshold + step))
        self._engine.threshold(self.threshold)

    def _next_speed(self) -> None:
        from rtmelody.config import SPEEDS

        speeds = [*SPEEDS]
        self.speed = speeds[(speeds.index(self.speed) + 1) % len(speeds)]
        self._engine.speed(self.speed)


@contextmanager
def keyboard() -> Iterator[Callable[[], str]]:
    """A function that gives what was typed since its last call: nothing where standard input is no terminal."""
    if not _is_ours(sys.stdin):
        yield lambda: ""
    elif sys.platform == "win32":
        import msvcrt

        def pressed() -> str:
            key = msvcrt.getwch() if msvcrt.kbhit() else ""
            return ON_WINDOWS.get(key + msvcrt.getwch(), "") if key in ("\x00", "\xe0") else key

        yield pressed
    else:
        import select
        import termios
        import tty

        terminal = sys.stdin.fileno()
        before = termios.tcgetattr(terminal)
        tty.setcbreak(terminal)
        try:
            # It may be sent to the background meanwhile, where reading would stop it, notes and all.
            def typed() -> bool:
                return _is_ours(sys.stdin) and bool(select.select([terminal], [], [], 0)[0])

            yield lambda: os.read(terminal, MOST_TYPED).decode(errors="ignore") if typed() else ""
        finally:
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _is_ours(stream: TextIO | None) -> bool:
    """Whether it is a terminal, and this process in its foreground: another would be stopped for touching it."""
    if stream is None or not stream.isatty():
        return False
    if sys.platform == "win32":
        return True
    try:
        return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    except OSError:  # not the terminal that controls this process: nobody stops it there
        return True


def meter(level_db: float) -> str:
    """A level as a bar."""
    full = round(METER * min(1.0, max(0.0, (level_db - FLOOR_DB) / (CEILING_DB - FLOOR_DB))))
    return "█" * full + "·" * (METER - full)


def needle(cents: float | None) -> str:
    """A tuner's scale of ±50 cents."""
    scale = ["─"] * TUNER
    scale[TUNER // 2] = "│"
    if cents is not None:
        place = round((min(1.0, max(-1.0, cents / WIDEST_CENTS)) + 1) / 2 * (TUNER - 1))
        scale[place] = "●"
    return "".join(scale)


def losses(snapshot: "Snapshot") -> str:
    """What was lost so far."""
    found = f"{snapshot.overflows} overflows, {snapshot.xruns} xruns, {snapshot.faults} faults"
    if snapshot.unrecorded:
        found += f", {snapshot.unrecorded} blocks not recorded"
    return found + (", MIDI stalled" if snapshot.stalled else "")
