"""What every adapter shares: read the clips of a job, transcribe each, write what was found and what it cost.

Adapters run in environments of their own, in which only NumPy and SoundFile are certain: nothing here imports rtmelody.
An adapter is a script `<peer>.py JOB RESULT`. JOB is JSON: a list of audio files. RESULT is JSON:

    {"startup_s", "peak_mb", "clips": {file: {"notes": [[onset, offset, midi, emitted_at, confidence or null], ...], "cpu_s"}}}

`emitted_at` is when a listener gets the note: the audio (s) that had gone in when the peer decided.
"""

import json
import re
import resource
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

_began = time.perf_counter()  # imported first, so that start-up counts what the peer imports and loads

import numpy as np
import soundfile

Note = tuple[float, float, float, float, float | None]  # onset s, offset s, MIDI number, emitted_at s, confidence
Transcribe = Callable[[np.ndarray, int], Iterable[Note]]


def serve(transcribe: Transcribe) -> None:
    """Do the job that the command line names: `transcribe(mono float32 samples, rate)` clip by clip."""
    job, result = map(Path, sys.argv[1:3])
    clips: dict[str, object] = {}
    startup = time.perf_counter() - _began
    list(transcribe(0.1 * np.sin(np.arange(32_000) / 10).astype(np.float32), 32_000))  # what compiles late is no running cost
    for path in json.loads(job.read_text(encoding="utf-8")):
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
        before = _cpu_s()
        notes = [
            [None if value is None else round(float(value), 5) for value in note] for note in transcribe(audio[:, 0], rate)
        ]
        clips[path] = {"notes": notes, "cpu_s": round(_cpu_s() - before, 4)}
        print(path, flush=True)
    costs = {"startup_s": round(startup, 3), "peak_mb": round(_peak_mb(), 1)}
    result.write_text(json.dumps(costs | {"clips": clips}), encoding="utf-8")


def blocks(audio: np.ndarray, size: int) -> Iterable[tuple[np.ndarray, int]]:
    """Whole blocks of `size` samples, each with the number of samples that have come once it is there; the last is padded."""
    for end in range(size, len(audio) + size, size):
        block = audio[end - size : end]
        yield np.pad(block, (0, size - len(block))), end


def _cpu_s() -> float:
    """CPU time of this process and of the children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _peak_mb() -> float:
    """Peak resident memory; from /proc where there is one, since `ru_maxrss` remembers the process that forked this one."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(re.search(r"VmHWM:\s+(\d+)", status.read_text(encoding="utf-8"))[1]) / 1024
