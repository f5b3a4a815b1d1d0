"""The engine's own process: opens the input, recognizes, sends, and opens the input anew whenever it is lost."""

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import msgspec

from rtmelody.config import Config
from rtmelody.core.arranger import Arranger
from rtmelody.core.network import Network, model_folder
from rtmelody.core.recognizer import Recognizer
from rtmelody.engine.board import Board, Snapshot
from rtmelody.errors import AudioDeviceError, MidiError, OutputError, RtmelodyError
from rtmelody.events import Event, NoteOn, began, told
from rtmelody.io import audio
from rtmelody.io.osc import OscSender
from rtmelody.io.session import Fault, SessionRecorder
from rtmelody.live import Status, StreamClock, run

RETRY_S = 0.5  # between two looks for an input that has gone
REFRESH_S = 0.05  # the state is shown so often at least, while there is an input
SWITCH_S = 5e-4  # for so long another thread may keep the interpreter
PRIORITY = 10  # of real-time scheduling: below a sound server's
OF_THE_GROUP = ("SIGINT", "SIGHUP", "SIGBREAK")  # signals that reach every process of a terminal: the parent decides
HUNG = 75  # exit code: the sound system hangs, and only a new process gets rid of it


class Output(Protocol):
    """Where events go; `MidiSender` says more."""

    @property
    def stalled(self) -> bool:
        """Whether it takes nothing more."""

    def send(self, event: Event, due: float = ...) -> None:
        """Send at a time."""

    def panic(self) -> None:
        """Silence everything."""

    def flush(self) -> bool:
        """Wait until everything has been sent; whether it was."""

    def close(self) -> bool:
        """Silence everything and close; whether that came to an end."""


class NoOutput:
    """Stands in for MIDI where none is wanted."""

    stalled = False

    def send(self, event: Event, due: float = 0.0) -> None:
        """Send nowhere."""

    def panic(self) -> None:
        """Nothing sounds."""

    def flush(self) -> bool:
        """Nothing waits."""
        return True

    def close(self) -> bool:
        """Nothing is open."""
        return True


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine is to do besides what its configuration says."""

    midi: bool = True
    record: Path | None = None  # folder for the session's recordings
    began: float  # of `time.monotonic`: when the session did


def serve(config: Config, plan: Plan, memory: Any, parent: Connection, before: Snapshot | None) -> None:
    """Perform until the parent says so, or is gone.

    `before`, the last state of a process whose place this one takes, makes it wait for devices that are not there yet. What
    goes wrong is told to the parent: an RtmelodyError that ends it all, or a line about a fault that was survived.
    """
    for name in OF_THE_GROUP:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    try:
        performance = Performance(config, plan, Board(memory), parent, before)
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

    def __init__(self, config: Config, plan: Plan, board: Board, parent: Connection, before: Snapshot | None) -> None:
        """Load the model. See `serve`."""
        self._config, self._plan, self._board, self._parent = config, plan, board, parent
        self._patient = self._replacement = before is not None
        self._network = Network(model_folder(config.model))
        self._arranger = Arranger(config.midi)
        self._output: Output = NoOutput()
        self._osc = OscSender(config.midi.osc) if config.midi.osc else None
        self._recognizer: Recognizer | None = None  # the latest one
        self._recorder: SessionRecorder | None = None  # likewise
        self._sending = threading.Lock()  # commands come from another thread
        self._stopping = threading.Event()
        self._posted = 0  # events on the board
        self._snapshot = msgspec.structs.replace(before or Snapshot(), realtime=_undisturbed())
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
                    if self._plan.midi and isinstance(self._output, NoOutput):
                        self._output = _midi_output(self._config)
                        self._output.panic()  # an engine that died may have left a note to an existing port
                    if self._patient:
                        audio.look_again()
                    microphone = audio.Microphone(self._config.audio)
                except (AudioDeviceError, MidiError):
                    if not self._patient:
                        raise
                    self._wait()
                else:
                    self._patient = True
                    self._listen(microphone)
        finally:
            self._show()
            if self._recorder:
                self._recorder.close()
            self._output.close()
            self._show()

    def _wait(self) -> None:
        """A device is missing: look again, a little later."""
        self._snapshot.sample_rate = 0.0
        self._show()
        time.sleep(RETRY_S)  # waiting for the event could keep a signal's handler from setting it

    def _listen(self, microphone: audio.Microphone) -> None:
        """From one fault of the input to the next."""
        try:
            self._run(microphone)
            fault = None if self._stopping.is_set() else "The audio input has gone."
        except AudioDeviceError as error:
            fault = str(error)
        if fault:
            self._snapshot.faults += 1
            _tell(self._parent, fault)
            if self._recorder:
                self._recorder.put(Fault(self._now(), fault))
        if not microphone.stop():
            self._output.panic()
            self._output.flush()  # it is not closed: that would hang as well
            self._show()
            if self._recorder:
                self._recorder.close()
            sys.stderr.flush()
            os._exit(0 if self._stopping.is_set() else HUNG)

    def _run(self, microphone: audio.Microphone) -> None:
        """Until the input ends or falters."""
        rate, since_s = microphone.sample_rate, self._now()
        recorder = self._recording(rate, since_s)
        overflows, xruns = self._snapshot.overflows, self._snapshot.xruns
        recognizer, clock = Recognizer(rate, self._config, self._network), StreamClock(rate)
        self._recognizer, self._snapshot.sample_rate = recognizer, rate

        def emit(event: Event) -> None:
            self._send(event, clock)  # first: whoever plays must not wait for the rest
            entry = told(event, rate, since_s)
            self._board.post(self._posted, entry)
            if recorder:
                recorder.put(entry)
            self._posted += 1
            self._snapshot.notes += isinstance(event, NoteOn)

        def show(status: Status) -> None:
            seconds = since_s + status.seconds
            if seconds == self._snapshot.seconds and time.monotonic() - self._snapshot.at < REFRESH_S:
                return
            self._snapshot.seconds, self._snapshot.level_db = seconds, status.level_db
            self._snapshot.sounding = status.sounding
            self._snapshot.overflows, self._snapshot.xruns = overflows + status.overflows, xruns + status.xruns
            self._show()

        keep = recorder.put if recorder else lambda _samples: None
        run(microphone, recognizer, emit, show, self._stopping, clock, keep, watched=True)

    def _recording(self, rate: float, since_s: float) -> SessionRecorder | None:
        """The recorder, told that the next samples were heard so late; a new one for another sample rate."""
        if self._plan.record and (self._recorder is None or self._recorder.sample_rate != rate):
            if self._recorder:
                self._recorder.close()
            self._recorder = None
            try:
                self._recorder = SessionRecorder(self._plan.record, rate, since_s)
            except OutputError as error:
                if not self._replacement:
                    raise
                _tell(self._parent, str(error))
        if self._recorder:
            self._recorder.put(since_s)
        return self._recorder

    def _now(self) -> float:
        """Seconds of the session."""
        return time.monotonic() - self._plan.began

    def _send(self, event: Event, clock: StreamClock) -> None:
        """To the output, at once or so long after the onset as is wanted."""
        latency_s = self._config.midi.fixed_latency_s
        with self._sending:
            if arranged := self._arranger.arrange(event):
                self._output.send(arranged, clock.time_of(began(event)) + latency_s if latency_s else 0.0)
                if self._osc:
                    self._osc.send(arranged)

    def _show(self) -> None:
        self._snapshot.at, self._snapshot.stalled = time.monotonic(), self._output.stalled
        self._snapshot.unrecorded = self._recorder.lost if self._recorder else 0
        self._board.show(self._snapshot)

    def _obey(self) -> None:
        """The parent's commands, from a thread that waits for them; its end is a command as well."""
        commands: dict[str, Callable[[Any], None]] = {
            "panic": self._panic,
            "mute": self._mute,
            "transpose": self._transpose,
            "threshold": self._threshold,
        }
        with suppress(EOFError, OSError):
            while (command := self._parent.recv()) is not None:
                name, value = command
                commands[name](value)
        self.stop()

    def _panic(self, _: None) -> None:
        self._output.panic()

    def _mute(self, muted: bool) -> None:
        with self._sending:
            self._arranger.muted = muted
            if muted:
                self._output.panic()

    def _transpose(self, semitones: int) -> None:
        self._arranger.transpose = semitones

    def _threshold(self, probability: float) -> None:
        """For this input and those to come."""
        thresholds = msgspec.structs.replace(self._config.tracker, on_probability=probability)
        self._config = msgspec.structs.replace(self._config, tracker=thresholds)
        if self._recognizer:
            self._recognizer.tracker.thresholds = thresholds


def _midi_output(config: Config) -> Output:
    try:
        from rtmelody.io.midi import MidiSender
    except ImportError as error:
        raise MidiError("MIDI needs python-rtmidi: run `pip install python-rtmidi` (it may need a compiler).") from error
    return MidiSender(config.midi)


def _undisturbed() -> bool:
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
