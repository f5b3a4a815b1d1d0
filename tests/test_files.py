"""Files in and out: every kind of bad input in one sentence, and nothing half-written."""

import csv
import io
import json
import os
import threading
from contextlib import suppress

import mido
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from rtmelody.errors import AudioFileError, OutputError
from rtmelody.events import Note
from rtmelody.io import files
from rtmelody.io.pcm import decoded

NOTES = [Note(0.5, 0.9, 60, 100, 0.9, -3.0, 0.53), Note(0.9, 1.4, 64, 80, 0.8, 4.5, 0.93)]


@pytest.mark.parametrize(("suffix", "rate"), [("wav", 44_100), ("flac", 48_000), ("ogg", 22_050), ("mp3", 44_100)])
def test_reads_every_format_in_stereo(tmp_path, suffix, rate):
    time = np.arange(rate) / rate
    left = 0.4 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / f"a.{suffix}", np.column_stack((left, np.zeros(rate))), rate)
    samples, found = files.read_audio(tmp_path / f"a.{suffix}")
    assert found == rate
    assert samples.dtype == np.float32
    assert np.std(samples) == pytest.approx(np.std(left) / 2, rel=0.15)  # MP3 is lossy


def bad(tmp_path, kind):
    path, noise = tmp_path / "bad.wav", np.random.default_rng(5).normal(0, 0.1, 44_100)
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is not sound\n" * 100)
    elif kind == "no sound":
        soundfile.write(path, np.zeros(0), 44_100)
    elif kind == "folder":
        path.mkdir()
    elif kind == "nan":
        noise[20_000] = np.nan
        soundfile.write(path, noise, 44_100, subtype="FLOAT")
    elif kind == "unfinished flac":  # its writer was killed before the first frame
        path = tmp_path / "bad.flac"
        soundfile.write(path, noise, 44_100)
        head = bytearray(path.read_bytes()[:86])
        head[8 + 13] &= 0xF0  # the number of samples, which STREAMINFO leaves at 0 until the end
        head[8 + 14 : 8 + 18] = bytes(4)
        path.write_bytes(head)
    elif kind.startswith("cut"):
        path = tmp_path / f"bad.{kind.split()[1]}"
        soundfile.write(path, noise, 44_100)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "No such file"),
        ("empty", "is empty"),
        ("text", "not audio"),
        ("no sound", "no sound"),
        ("unfinished flac", "no sound"),
        ("folder", "directory"),
        ("nan", "not numbers"),
        ("cut wav", "truncated"),
        ("cut flac", "truncated"),
        ("cut ogg", "truncated"),
    ],
)
def test_bad_audio(tmp_path, kind, message):
    with pytest.raises(AudioFileError, match=message) as caught:
        files.read_audio(bad(tmp_path, kind))
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=400), st.sampled_from([b"RIFF\x24\x00\x00\x00WAVEfmt ", b"fLaC", b"OggS", b"ID3", b""]))
def test_garbage_never_escapes(tmp_path_factory, content, head):
    path = tmp_path_factory.mktemp("garbage") / "x.wav"
    path.write_bytes(head + content)
    with suppress(AudioFileError):  # the only way out besides success
        files.read_audio(path)


def test_jsonl():
    rows = [json.loads(line) for line in files.to_jsonl(NOTES).splitlines()]
    assert list(rows[0]) == ["onset", "offset", "midi", "velocity", "confidence", "cents", "emitted_at"]
    assert rows[1]["midi"] == 64


def test_csv():
    rows = list(csv.DictReader(io.StringIO(files.to_csv(NOTES).decode())))
    assert float(rows[0]["onset"]) == 0.5
    assert int(rows[1]["velocity"]) == 80


def test_midi_file_keeps_times():
    clock, events = 0.0, []
    for message in mido.MidiFile(file=io.BytesIO(files.to_midi(NOTES))):
        clock += message.time
        if not message.is_meta:
            events.append((message.type, message.note, round(clock, 3)))
    assert events == [("note_on", 60, 0.5), ("note_off", 60, 0.9), ("note_on", 64, 0.9), ("note_off", 64, 1.4)]


def test_write_is_whole_or_not_at_all(tmp_path, monkeypatch):
    target = tmp_path / "out.mid"
    target.write_bytes(b"before")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputError, match="No space left"):
        files.write_whole(target, b"after")
    assert [path.name for path in tmp_path.iterdir()] == ["out.mid"]
    assert target.read_bytes() == b"before"


def test_a_link_to_a_file_stays_a_link(tmp_path):
    target, link = tmp_path / "here.yaml", tmp_path / "there.yaml"
    target.write_bytes(b"before")
    link.symlink_to(target)
    files.write_whole(link, b"after")
    assert link.is_symlink()
    assert target.read_bytes() == b"after"


def test_a_secret_goes_where_nobody_has_laid_anything(tmp_path):
    elsewhere, link, pipe = tmp_path / "theirs", tmp_path / "link", tmp_path / "pipe"
    elsewhere.write_bytes(b"theirs")
    link.symlink_to(elsewhere)
    files.write_whole(link, b"secret", 0o600)
    assert not link.is_symlink()
    assert (link.read_bytes(), elsewhere.read_bytes()) == (b"secret", b"theirs")
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match="no file"):
        files.write_whole(pipe, b"secret", 0o600)


def test_a_pipe_is_written_into(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    files.write_whole(pipe, b"for the other end")
    reader.join(10)
    assert read == [b"for the other end"]
    assert pipe.is_fifo()


def test_the_longest_name_can_be_written(tmp_path):
    target = tmp_path / f"{'x' * 251}.mid"
    files.write_whole(target, b"x")
    assert target.read_bytes() == b"x"


def test_write_into_nowhere(tmp_path):
    with pytest.raises(OutputError, match="No such file"):
        files.write_whole(tmp_path / "none" / "out.mid", b"x")


@pytest.mark.parametrize(
    ("pcm", "subtype"), [("s16le", "PCM_16"), ("s24le", "PCM_24"), ("s32le", "PCM_32"), ("f32le", "FLOAT")]
)
def test_raw_samples_are_those_of_the_library(pcm, subtype, tmp_path):
    sound = np.random.default_rng(0).uniform(-1, 1, 1_000)
    soundfile.write(tmp_path / "sound.raw", sound, 8_000, subtype, format="RAW", endian="LITTLE")
    read, _ = soundfile.read(
        tmp_path / "sound.raw", dtype="float32", samplerate=8_000, channels=1, subtype=subtype, format="RAW", endian="LITTLE"
    )
    assert np.array_equal(decoded((tmp_path / "sound.raw").read_bytes(), pcm), read)
