"""The engine's own process: opens the input, recognizes, sends, and opens the input anew whenever it is lost."""

import gc
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from rtmelody.config import Config, Midi, Speed
from rtmelody.core.arranger import Arranger
from rtmelody.core.bend import Bend
from rtmelody.core.framing import FLOOR_DB
from rtmelody.core.network import Network, model_folder
from rtmelody.core.recognizer import Recognizer
from rtmelody.engine.board import Board, Snapshot
from rtmelody.engine.deck import Deck
from rtmelody.errors import AudioDeviceError, ConfigError, MidiError, OutputError, RtmelodyError
from rtmelody.events import Event, NoteOn, ToldAll, began, told
from rtmelody.io import audio
from rtmelody.io.osc import OscPort
from rtmelody.io.pcm import PcmInput
from rtmelody.io.sender import NOW, Port, Sender
from rtmelody.io.session import Fault
from rtmelody.live import Source, Status, StreamClock, run

RETRY_S = 0.5  # between two looks for an input that has gone
CENTS_S = 0.025  # so often the deviation of the sounding note is looked at
REFRESH_S = 0.05  # the state is shown so often at least, while there is an input
SWITCH_S = 5e-4  # for so long another thread may keep the interpreter
PRIORITY = 10  # of real-time scheduling: below a sound server's
OF_THE_GROUP = ("SIGINT", "SIGHUP", "SIGBREAK")  # signals that reach every process of a terminal: the parent decides
HUNG = 75  # exit code: the sound system hangs, and only a new process gets rid of it


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine is to do besides what its configuration says."""

    midi: bool = True
    record: Path | None = None  # folder for the session's recordings
    provisional: bool = False  # tell of notes that are not certain yet
    began: float  # of `time.monotonic`: when the session did


def serve(
    config: Config, plan: Plan, memory: Any, parent: Connection, stdin: Connection | None, before: Snapshot | None
) -> None:
    """Perform until the parent says so, or is gone, or `stdin`, from which raw PCM may come, has ended.

    `before`, the last state of a process whose place this one takes, makes it wait for devices that are not there yet. What
    goes wrong is told to the parent: an RtmelodyError that ends it all, or a line about a fault that was survived.
    """
    for name in OF_THE_GROUP:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    try:
        performance = Performance(config, plan, Board(memory), parent, stdin, before)
        signal.signal(signal.SIGTERM, lambda _number, _frame: performance.stop())
        performance.perform()
    except RtmelodyError as error:
        _tell(parent, error)
    except Exception as error:  # a defect: the parent starts another engine
        _tell(parent, f"The engine failed ({type(error).__name__}: {error}).")
        raise


def _tell(parent: Connection, news: str | RtmelodyError) -> None:
    """A parent that has gone need not know; that it has, the commands' thread notices."""
    with suppress(OSError):
        parent.send(news)


class Performance:
    """A session of listening: one output, and one input after the other."""

    def __init__(
        self,
        config: Config,
        plan: Plan,
        board: Board,
        parent: Connection,
        stdin: Connection | None,
        before: Snapshot | None,
    ) -> None:
        """Load the model. See `serve`."""
        self._config, self._plan, self._board, self._parent, self._stdin = config, plan, board, parent, stdin
        self._patient = self._replacement = before is not None
        self._network = Network(model_folder(config.model))
        self._arranger = Arranger(config.midi)
        self._bend = Bend()
        self._output = Sender()
        self._connected = False  # whether that is more than nothing
        self._recognizer: Recognizer | None = None  # the latest one
        self._sending = threading.Lock()  # commands come from another thread
        self._stopping = threading.Event()
        self._posted = 0  # events on the board
        self._looked_at = 0.0  # at the deviation of the sounding note
        self._missing = ""  # what is waited for apart from the input, as the parent was told
        self._snapshot = msgspec.structs.replace(before or Snapshot(), realtime=undisturbed(), sample_rate=0.0)
        self._deck = Deck(plan.record, self._snapshot.unrecorded, lambda: self._snapshot.seconds)
        threading.Thread(target=self._obey, name="commands", daemon=True).start()

    def stop(self) -> None:
        """End the notes, close everything, return from `perform`."""
        self._stopping.set()

    def perform(self) -> None:
        """Listen, whatever becomes of the input.

        Raises MidiError or AudioDeviceError if a device cannot be opened at first, OutputError if nothing can be recorded.
        """
        try:
            while not self._stopping.is_set():
                try:
                    self._connect()
                    source = self._source()
                except (AudioDeviceError, ConfigError, MidiError) as error:
                    if not self._patient:
                        raise
                    if not isinstance(error, AudioDeviceError):
                        self._miss(str(error))
                    self._wait()
                else:
                    self._listen(source)
        finally:
            self._show()
            self._deck.close()
            self._output.close()
            self._show()

    def _connect(self) -> None:
        """Open whatever is played to, unless it is open.

        Raises MidiError or ConfigError if that cannot be.
        """
        if self._connected:
            return
        midi = self._config.midi
        ports: list[Port] = _midi_ports(midi) if self._plan.midi else []
        ports += [OscPort(midi.osc)] if midi.osc else []
        self._output.close()
        self._output, self._connected = Sender(ports, midi.fixed_latency_s or 0.0), True
        self._output.panic()  # an engine that died may have left a note to an existing port

    def _source(self) -> audio.Microphone | PcmInput:
        """What to listen to.

        Raises AudioDeviceError if there is no such thing.
        """
        if self._stdin:
            return PcmInput(self._config.audio, self._stdin.fileno())
        if self._patient:
            audio.look_again()
        return audio.Microphone(self._config.audio)

    def _miss(self, what: str) -> None:
        """Tell once what the session waits for."""
        if what != self._missing:
            self._missing = what
            _tell(self._parent, what)

    def _wait(self) -> None:
        """A device is missing: look again, a little later."""
        self._snapshot.sample_rate, self._snapshot.level_db = 0.0, FLOOR_DB
        if not self._stdin:
            self._snapshot.seconds = self._now()
        self._snapshot.sounding = self._snapshot.pending = self._snapshot.cents = None
        self._show()
        time.sleep(RETRY_S)  # waiting for the event could keep a signal's handler from setting it

    def _listen(self, source: Source) -> None:
        """From one fault of the input to the next; the first input's, if it never sent anything, is the end, and a pipe's."""
        try:
            self._run(source)
            if self._stdin:
                self.stop()
            fault = None if self._stopping.is_set() else "The audio input has gone."
        except AudioDeviceError as error:
            fault = str(error)
        heard = self._recognizer is not None and self._recognizer.at > 0
        self._patient = self._patient or heard
        if fault and (not self._patient or self._stdin):
            _tell(self._parent, AudioDeviceError(fault))
            self.stop()
        elif fault:
            self._lose(fault, heard)
        if not source.stop():
            self._abandon()
        gc.collect()  # its stream, its ring and its callback hold one another, and nothing else collects
        if fault and not heard:
            self._wait()

    def _lose(self, fault: str, heard: bool) -> None:
        """The input has gone, or is still gone, which is told once."""
        self._deck.close_input()
        if not heard:
            self._miss(fault)
            return
        self._missing = ""
        self._snapshot.faults += 1
        _tell(self._parent, fault)
        self._deck.put(Fault(self._now(), fault))

    def _abandon(self) -> None:
        """The sound system hangs: end this process."""
        self._output.panic()
        self._output.flush()  # it is not closed: that would hang as well
        self._show()
        self._deck.close()
        sys.stderr.flush()
        os._exit(0 if self._stopping.is_set() else HUNG)

    def _run(self, source: Source) -> None:
        """Until the input ends or falters."""
        rate, since_s = source.sample_rate, self._snapshot.seconds if self._stdin else self._now()
        self._record_on(rate, since_s)
        overflows, xruns = self._snapshot.overflows, self._snapshot.xruns
        recognizer, clock = Recognizer(rate, self._config, self._network), StreamClock(rate)
        self._recognizer = recognizer

        def emit(event: Event) -> None:
            self._send(event, clock)  # first: whoever plays must not wait for the rest
            self._announce(recognizer, since_s, event.at)
            entry = told(event, rate, since_s)
            self._post(entry)
            self._deck.put(entry)
            self._snapshot.notes += isinstance(event, NoteOn)

        def show(status: Status) -> None:
            self._announce(recognizer, since_s)
            seconds = since_s + status.seconds
            if seconds > self._snapshot.seconds and self._config.midi.bend:
                self._follow(recognizer, seconds - self._snapshot.seconds, clock)
            if seconds == self._snapshot.seconds and time.monotonic() - self._snapshot.at < REFRESH_S:
                return
            self._snapshot.sample_rate = rate  # not before: it says that this process can listen
            self._snapshot.seconds, self._snapshot.level_db = seconds, status.level_db
            self._snapshot.sounding, self._snapshot.a4_hz = status.sounding, recognizer.a4_hz
            self._snapshot.pending = recognizer.tracker.pending
            if time.monotonic() - self._looked_at >= CENTS_S:
                self._looked_at, self._snapshot.cents = time.monotonic(), recognizer.cents()
            self._snapshot.overflows, self._snapshot.xruns = overflows + status.overflows, xruns + status.xruns
            self._show()

        # A pipe may pause, and may be quicker than the clock: nothing is wrong with it then.
        try:
            mute_s = None if self._stdin else self._config.audio.mute_s or math.inf
            run(source, recognizer, emit, show, self._stopping, clock, self._deck.put, mute_s=mute_s)
        finally:
            self._announce(recognizer, since_s)

    def _announce(self, recognizer: Recognizer, since_s: float, until: float = math.inf) -> None:
        """Tell of notes that were not certain, up to a sample, if anybody wants to know."""
        for news in recognizer.provisional(until) if self._plan.provisional else ():
            self._post(told(news, recognizer.sample_rate, since_s))

    def _post(self, event: ToldAll) -> None:
        self._board.post(self._posted, event)
        self._posted += 1

    def _record_on(self, rate: float, since_s: float) -> None:
        """A session that has begun goes on if it cannot be recorded."""
        try:
            self._deck.open_input(rate, since_s)
        except OutputError as error:
            if not self._replacement and self._snapshot.seconds == 0.0:
                raise
            _tell(self._parent, str(error))

    def _now(self) -> float:
        """Seconds of the session."""
        return time.monotonic() - self._plan.began

    def _send(self, event: Event, clock: StreamClock) -> None:
        """To the output, at once or so long after the onset as is wanted."""
        if isinstance(event, NoteOn):
            self._bend.begin(event.cents)
        with self._sending:
            if arranged := self._arranger.arrange(event):
                self._output.send(arranged, self._due(began(event), clock))

    def _follow(self, recognizer: Recognizer, seconds: float, clock: StreamClock) -> None:
        """Bend the note that sounds at the output, `seconds` after the last time, as its player does."""
        cents = recognizer.cents()
        with self._sending:
            if cents is None or not self._arranger.audible:
                return
            if (bend := self._bend.follow(cents, seconds)) is not None:
                self._output.bend(bend, self._due(recognizer.at, clock))

    def _due(self, sample: int, clock: StreamClock) -> float:
        """When to send what happened at a sample."""
        latency_s = self._config.midi.fixed_latency_s
        return clock.time_of(sample) + latency_s if latency_s else NOW

    def _show(self) -> None:
        self._snapshot.at, self._snapshot.stalled = time.monotonic(), self._output.stalled
        self._snapshot.recording, self._snapshot.unrecorded = self._deck.running, self._deck.lost
        self._board.show(self._snapshot)

    def _obey(self) -> None:
        """The parent's commands, from a thread that waits for them; its end is a command as well."""
        commands: dict[str, Callable[[Any], None]] = {
            "panic": self._panic,
            "mute": self._mute,
            "transpose": self._transpose,
            "threshold": self._threshold,
            "speed": self._speed,
            "record": self._record,
        }
        with suppress(EOFError, OSError):
            while (command := self._parent.recv()) is not None:
                name, value = command
                try:
                    commands[name](value)
                except RtmelodyError as error:
                    _tell(self._parent, str(error))
                except Exception as error:  # noqa: BLE001 (whatever it is, the others must still be heard)
                    _tell(self._parent, f"{name.capitalize()} failed ({error}).")
        self.stop()

    def _panic(self, _: None) -> None:
        with self._sending:
            self._arranger.silence()
            self._output.panic()

    def _mute(self, muted: bool) -> None:
        with self._sending:
            self._arranger.muted = muted
        if muted:
            self._panic(None)

    def _transpose(self, semitones: int) -> None:
        self._arranger.transpose = semitones

    def _threshold(self, probability: float) -> None:
        self._change(on_probability=probability)

    def _speed(self, speed: Speed) -> None:
        self._change(speed=speed, evidence_s=None, sure_probability=None)

    def _record(self, folder: Path | None) -> None:
        """From now on, or no more."""
        self._deck.switch(folder)

    def _change(self, **thresholds: Any) -> None:
        """For this input and those to come."""
        tracker = msgspec.structs.replace(self._config.tracker, **thresholds)
        self._config = msgspec.structs.replace(self._config, tracker=tracker)
        if self._recognizer:
            self._recognizer.tracker.thresholds = tracker


def _midi_ports(settings: Midi) -> list[Port]:
    try:
        from rtmelody.io.midi import midi_ports
    except ImportError as error:
        raise MidiError("MIDI needs python-rtmidi: run `pip install python-rtmidi` (it may need a compiler).") from error
    return [*midi_ports(settings)]


def undisturbed() -> bool:
    """No garbage collection, short turns for other threads, a real-time priority; whether the system granted that."""
    gc.collect()
    gc.freeze()
    gc.disable()
    sys.setswitchinterval(SWITCH_S)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except (AttributeError, OSError):  # not Linux, or not allowed
        return False
    return True
