"""Recordings in, notes out, over HTTP; health, and figures for Prometheus."""

import asyncio
import multiprocessing
import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from rtmelody.config import Config
from rtmelody.core.recognizer import Recognizer
from rtmelody.errors import AudioFileError, ConfigError
from rtmelody.events import notes
from rtmelody.io.files import FORMATS, open_audio
from rtmelody.monitor.hub import Hub
from rtmelody.monitor.microphones import Microphones

LARGEST = 64 << 20  # bytes of a recording
LONGEST_S = 1_800.0  # of sound
PATIENCE_S = 120.0  # for one recording
AT_ONCE = 2  # recordings
TYPES = {"json": "application/json", "mid": "audio/midi", "csv": "text/csv; charset=utf-8"}


class RefusedError(Exception):
    """A recording that is not transcribed: its HTTP status, and why."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(status, sentence)
        self.status, self.sentence = status, sentence


class Transcription:
    """`POST /transcribe`: in processes of their own, so that the page goes on at its pace."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._pool = _pool()
        self.busy = self.done = self.refused = 0

    async def serve(self, request: Request) -> Response:
        """
        summary: The notes of a recording
        description: The body is a WAV, FLAC, OGG or MP3 file of at most 64 MiB and half an hour.
        parameters:
          - {name: format, in: query, schema: {type: string, enum: [json, mid, csv], default: json}}
        requestBody: {required: true, content: {application/octet-stream: {schema: {type: string, format: binary}}}}
        responses:
          "200": {description: "Notes: onset and offset (s), midi, velocity, confidence, cents, emitted_at (s); or a file."}
          "400": {description: The format is unknown.}
          "408": {description: The recording came too slowly.}
          "413": {description: The recording is too large or too long.}
          "422": {description: The body is no audio that can be read.}
          "503": {description: Others are being transcribed. Try again after some seconds.}
          "504": {description: It took too long.}
          "507": {description: There is no room for the recording.}
        """  # noqa: D205, D212, D415 (starlette reads it as YAML)
        try:
            kind = self._admitted(request)
            self.busy += 1
            try:
                content = await self._transcribe(request, kind)
            finally:
                self.busy -= 1
        except RefusedError as reason:
            self.refused += 1
            headers = {"Retry-After": "5"} if reason.status == 503 else None  # noqa: PLR2004
            return JSONResponse({"error": reason.sentence}, reason.status, headers)
        self.done += 1
        return Response(content, media_type=TYPES[kind])

    def _admitted(self, request: Request) -> str:
        """The format that is asked for."""
        kind = request.query_params.get("format", "json")
        if kind not in TYPES:
            raise RefusedError(400, f"format must be one of {', '.join(TYPES)}.")
        if self.busy >= AT_ONCE:
            raise RefusedError(503, f"{AT_ONCE} recordings are being transcribed: try again in some seconds.")
        return kind

    async def _transcribe(self, request: Request, kind: str) -> bytes:
        try:
            with tempfile.TemporaryDirectory(prefix="rtmelody-") as folder:
                recording = Path(folder, "recording")
                await _save(request, recording)
                status, content = await self._apart(str(recording), kind)
        except OSError as error:
            raise RefusedError(507, f"There is no room for the recording ({error.strerror}).") from error
        if status != 200:  # noqa: PLR2004
            raise RefusedError(status, content.decode())
        return content

    async def _apart(self, name: str, kind: str) -> tuple[int, bytes]:
        """See `transcribed`."""
        for _ in range(AT_ONCE):  # another recording may be the one that crashes the decoder that both share
            pool = self._pool
            try:
                return await asyncio.get_running_loop().run_in_executor(pool, transcribed, name, kind, self._config)
            except BrokenProcessPool:  # it crashed, or the memory was not enough
                if self._pool is pool:
                    self._pool = _pool()
        return 422, b"The recording cannot be decoded."

    def close(self) -> None:
        """End the processes, whatever they do."""
        processes = [*(self._pool._processes or {}).values()]  # noqa: SLF001 (a public way comes with Python 3.14)
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()


async def _save(request: Request, recording: Path) -> None:
    """Write what is sent to a file."""
    size = 0
    try:
        with recording.open("wb") as file:
            async with asyncio.timeout(PATIENCE_S):
                async for chunk in request.stream():
                    size += len(chunk)
                    _fits(size)
                    file.write(chunk)
    except ClientDisconnect as error:
        raise RefusedError(400, "The recording broke off.") from error
    except TimeoutError as error:
        raise RefusedError(408, "The recording came too slowly.") from error


def _fits(size: int) -> None:
    if size > LARGEST:
        raise RefusedError(413, f"The recording has more than {LARGEST >> 20} MiB: send FLAC, or a part.")


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(AT_ONCE, multiprocessing.get_context("spawn"), _end_with_parent)


def _end_with_parent() -> None:
    """A process of the pool would wait for ever if the server were killed; a Ctrl-C is the server's to obey."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def transcribed(name: str, kind: str, config: Config) -> tuple[int, bytes]:
    """An HTTP status, and notes in a format or what is wrong with the file; in a process of the pool."""
    until = time.monotonic() + PATIENCE_S
    try:
        with open_audio(Path(name)) as audio:
            if audio.frames > LONGEST_S * audio.rate:
                return 413, f"The recording is longer than {LONGEST_S / 60:g} minutes.".encode()
            recognizer, events, samples = Recognizer(audio.rate, config), [], 0
            for block in audio.blocks():
                events += recognizer.push(block)
                samples += len(block)
                if samples > LONGEST_S * audio.rate:
                    return 413, f"The recording is longer than {LONGEST_S / 60:g} minutes.".encode()
                if time.monotonic() > until:
                    return 504, b"It took too long."
            found = notes(events + recognizer.flush(), audio.rate)
    except (AudioFileError, ConfigError) as error:
        return 422, re.sub(r": Error opening <.*?>", "", str(error)).replace(name, "The recording").encode()
    return 200, msgspec.json.encode(found) if kind == "json" else FORMATS[kind](found)


class Figures:
    """`GET /metrics` and `GET /health`."""

    def __init__(self, hub: Hub, transcription: Transcription, microphones: Microphones) -> None:
        self._hub, self._transcription, self._microphones = hub, transcription, microphones
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """What Prometheus asks for."""
        state, hub = self._hub.snapshot, self._hub
        for name, text, value in (
            ("notes", "Notes recognized", state.notes),
            ("overflows", "Blocks lost because the recognizer was late", state.overflows),
            ("xruns", "Times that the device lost samples", state.xruns),
            ("faults", "Times that the input was lost", state.faults),
            ("unrecorded", "Blocks and events that could not be recorded", state.unrecorded),
            ("dropped", "Messages that viewers were too slow for", hub.dropped + sum(one.dropped for one in hub.viewers)),
            ("transcriptions", "Recordings transcribed", self._transcription.done),
            ("refusals", "Recordings refused", self._transcription.refused),
        ):
            yield CounterMetricFamily(f"rtmelody_{name}", text, value)
        for name, text, value in (
            ("listening", "Whether an input is open", state.sample_rate > 0),
            ("level_decibels", "Level of the loudest resonator, re full scale", state.level_db),
            ("session_seconds", "Since the engine began to listen", state.seconds),
            ("viewers", "Pages that watch", len(hub.viewers)),
            ("microphones", "Browsers that are microphones", self._microphones.open),
        ):
            yield GaugeMetricFamily(f"rtmelody_{name}", text, float(value))

    async def metrics(self, _request: Request) -> Response:
        """
        summary: Figures in Prometheus' text form
        responses: {"200": {description: Counters and gauges.}}
        """  # noqa: D205, D212, D415
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

    async def health(self, _request: Request) -> Response:
        """
        summary: Whether the engine listens
        responses: {"200": {description: It does.}, "503": {description: "It does not: there is no input."}}
        """  # noqa: D205, D212, D415
        if self._hub.failed or not self._hub.snapshot.sample_rate:
            return PlainTextResponse(f"{self._hub.failed or 'There is no input.'}\n", 503)
        return PlainTextResponse("listening\n")
