"""The command line as a user meets it: real files, exit codes, no traceback."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
from conftest import DATA, ROOT, piano_like

from rtmelody.cli.options import on_signal
from rtmelody.events import Note
from rtmelody.io.files import to_midi

MAJOR = (60, 62, 64, 65)


def rtmelody(*arguments, input=None, cwd=None, **environment):  # noqa: A002 (subprocess's word)
    return subprocess.run(
        [sys.executable, "-m", "rtmelody", *map(str, arguments)],
        input=input, capture_output=True, cwd=cwd, env=os.environ | environment, check=False, timeout=120,
    )  # fmt: skip


def refused(result, code, *words):
    """One sentence, the right exit code, no traceback."""
    message = result.stderr.decode()
    assert result.returncode == code, message
    assert "Traceback" not in message
    lines = [line for line in message.splitlines() if line.startswith("rtmelody: ")]
    assert len(lines) == 1
    assert all(word in lines[0] for word in words), message


@pytest.fixture(scope="module")
def scale(tmp_path_factory):
    """Four notes as a stereo WAV at 44.1 kHz."""
    rate = 44_100
    notes = [piano_like(440 * 2 ** ((pitch - 69) / 12), 0.4, rate) for pitch in MAJOR]
    samples = np.concatenate((np.zeros(rate // 4, np.float32), *notes))
    path = tmp_path_factory.mktemp("audio") / "scale.wav"
    soundfile.write(path, np.column_stack((samples, samples)), rate)
    return path


def test_help_loads_nothing_heavy():
    code = "import sys\nfrom rtmelody.cli.main import cli\ntry: cli(['--help'])\nexcept SystemExit: pass\n"
    code += "heavy = {'numpy', 'numba', 'tflite_runtime', 'ai_edge_litert', 'rich'} & set(sys.modules)\nassert not heavy, heavy"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode()
    assert b"transcribe" in result.stdout


@pytest.mark.parametrize("verb", ["demo", "transcribe", "listen", "pair", "devices", "config", "train"])
def test_every_verb_explains_itself(verb):
    result = rtmelody(verb, "--help")
    assert result.returncode == 0
    assert b"Usage:" in result.stdout
    assert b"\\b" not in result.stdout


def test_transcribe_to_midi(scale, tmp_path):
    result = rtmelody("transcribe", scale, cwd=tmp_path)
    assert result.returncode == 0, result.stderr.decode()
    played = [message.note for message in mido.MidiFile(tmp_path / "scale.mid") if message.type == "note_on"]
    assert played == list(MAJOR)


def test_transcribe_standard_input_to_standard_output(scale):
    result = rtmelody("transcribe", "-", "-o", "-", "--format", "jsonl", input=scale.read_bytes())
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["midi"] for row in rows] == list(MAJOR)
    for row, onset in zip(rows, (0.25, 0.65, 1.05, 1.45), strict=True):
        assert abs(row["onset"] - onset) < 0.03
        assert 0 < row["emitted_at"] - onset < 0.08
        assert row["onset"] < row["emitted_at"] < row["offset"]
        assert abs(row["cents"]) < 20


def test_transcribe_many_into_a_folder_with_one_bad(scale, tmp_path):
    shutil.copy(scale, tmp_path / "good.wav")
    (tmp_path / "bad.wav").write_text("no sound")
    result = rtmelody("transcribe", tmp_path / "bad.wav", tmp_path / "good.wav", "-o", tmp_path / "out", "--format", "csv")
    refused(result, 5, "bad.wav", "not audio")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.csv"]


def test_transcribe_plots(scale, tmp_path):
    result = rtmelody("transcribe", scale, "-o", tmp_path / "x.jsonl", "--plot", tmp_path / "x.png")
    assert result.returncode == 0, result.stderr.decode()
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "x.jsonl").read_text().splitlines()) == 4


@pytest.mark.parametrize("kind", ["missing", "empty", "nan", "cut"])
def test_bad_audio(kind, tmp_path):
    path = tmp_path / "bad.wav"
    if kind == "empty":
        path.touch()
    elif kind != "missing":
        samples = np.full(44_100, np.nan if kind == "nan" else 0.1)
        soundfile.write(path, samples, 44_100, subtype="FLOAT")
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:50_000])
    refused(rtmelody("transcribe", path, cwd=tmp_path), 5, "bad.wav")
    assert not list(tmp_path.glob("*.mid"))


def test_same_names_are_not_overwritten(scale, tmp_path):
    (tmp_path / "sub").mkdir()
    other = shutil.copy(scale, tmp_path / "sub" / "scale.wav")
    refused(rtmelody("transcribe", scale, other, cwd=tmp_path), 8, "same file")


def test_what_was_not_asked_for_is_not_overwritten(scale, tmp_path):
    recording, score = Path(shutil.copy(scale, tmp_path / "tune.wav")), tmp_path / "tune.mid"
    score.write_bytes(b"the score of the tune")
    refused(rtmelody("transcribe", recording, cwd=tmp_path), 8, "give -o tune.mid")
    assert score.read_bytes() == b"the score of the tune"
    assert rtmelody("transcribe", recording, "-o", "tune.mid", cwd=tmp_path).returncode == 0
    assert score.read_bytes().startswith(b"MThd")
    page = tmp_path / "tune.html"
    page.write_text("a page about the tune")
    refused(rtmelody("report", recording, "--score", score, cwd=tmp_path), 8, "give -o tune.html")
    assert page.read_text() == "a page about the tune"


def test_recordings_are_not_written_over(scale, tmp_path):
    recording = shutil.copy(scale, tmp_path / "mine.mid")  # a name that could be of notes
    refused(rtmelody("transcribe", recording, "-o", recording), 8, "recording")
    refused(rtmelody("transcribe", recording, "-o", tmp_path / "x.csv", "--plot", recording), 8, "recording")
    refused(rtmelody("transcribe", recording, "-o", tmp_path / "x.csv", "--plot", tmp_path / "x.csv"), 8, "same file")
    assert recording.read_bytes() == scale.read_bytes()


def test_a_report_is_not_written_over_what_it_reads(scale, tmp_path):
    recording, score = Path(shutil.copy(scale, tmp_path / "take.wav")), tmp_path / "tune.mid"
    rtmelody("transcribe", recording, "-o", score)
    for target in (recording, score):
        before = target.read_bytes()
        refused(rtmelody("report", recording, "--score", score, "-o", target), 8, "to be read")
        assert target.read_bytes() == before


@pytest.mark.parametrize("name", [b"take $_$.wav", b"caf\xe9.wav"])
def test_any_name_and_no_note_make_a_picture_and_a_report(name, tmp_path):
    recording = tmp_path / os.fsdecode(name)
    soundfile.write(tmp_path / "plain.wav", np.zeros(24_000), 48_000)
    (tmp_path / "plain.wav").rename(recording)
    picture, page, score = tmp_path / "x.png", tmp_path / "x.html", tmp_path / "score.mid"
    score.write_bytes(to_midi([Note(0.0, 0.5, 60, 90, 1.0, 0.0, 0.0)]))
    assert rtmelody("transcribe", recording, "-o", tmp_path / "x.mid", "--plot", picture).returncode == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert rtmelody("report", recording, "--score", score, "-o", page).returncode == 0
    assert "take $_$" in page.read_text("utf-8") or "caf\ufffd" in page.read_text("utf-8")


def test_a_folder_may_have_a_dot_in_its_name(scale, tmp_path):
    (tmp_path / "takes.2026").mkdir()
    assert rtmelody("transcribe", scale, "-o", tmp_path / "takes.2026").returncode == 0
    assert (tmp_path / "takes.2026" / "scale.mid").exists()


def test_raw_samples_have_one_channel():
    refused(rtmelody("listen", "--device", "-", "--channel", "2", "--no-midi", "-q"), 3, "mono")


def test_a_number_that_is_none_is_refused():
    assert rtmelody("check", "--seconds", "nan").returncode == 2


@pytest.fixture
def own_signals():
    """What a test does with them, it does alone."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("own_signals")
def test_a_terminal_that_closes_hangs_up_twice_and_nohup_is_respected():
    told = []
    for before, times in ((signal.SIG_DFL, 1), (signal.SIG_IGN, 1)):  # in a terminal, and under nohup
        signal.signal(signal.SIGHUP, before)
        on_signal(lambda: told.append("stop"))
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        assert len(told) == times


def test_unknown_suffix_and_one_file_for_many(scale, tmp_path):
    result = rtmelody("transcribe", scale, "-o", tmp_path / "notes.wav")
    assert result.returncode == 2
    assert b".wav" in result.stderr
    refused(rtmelody("transcribe", scale, scale, "-o", tmp_path / "x.mid"), 8, "give a folder")
    assert not list(tmp_path.iterdir())


def test_full_disk_behind_standard_output(scale):
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        command = [sys.executable, "-m", "rtmelody", "transcribe", scale, "-o", "-", "--format", "csv"]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    refused(result, 8, "No space left")


def test_output_nowhere(scale, tmp_path):
    refused(rtmelody("transcribe", scale, "-o", tmp_path / "none" / "x.mid"), 8, "make it first")
    refused(rtmelody("transcribe", scale, "-o", tmp_path / "x.mid", "--plot", tmp_path / "none" / "x.png"), 8, "make it first")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("transcribe", "x.wav", "-o", "x.mid", "--format", "csv"), "csv"),
        (("report", "x.wav", "--score", "x.mid", "--json", "-o", "x.html"), "--json"),
        (("listen", "--pcm", "s16le"), "--device -"),
        (("listen", "--no-midi", "--to", "synth"), "--to"),
        (("listen", "--no-midi", "--bend", "mpe"), "--bend"),
        (("pair", "listen", "192.168.0.7", "--stdio"), "--stdio"),
        (("pair", "listen", "192.168.0.7", "--audio-only"), "--audio-only"),
    ],
)
def test_what_would_be_ignored_is_refused(arguments, word):
    result = rtmelody(*arguments)
    assert result.returncode == 2
    assert word in result.stderr.decode().splitlines()[-1]


def test_bad_config(tmp_path):
    (tmp_path / "c.yaml").write_text("trackr: {}\n")
    refused(rtmelody("config", "--config", tmp_path / "c.yaml"), 3, "trackr")
    refused(rtmelody("transcribe", "x.wav", "--config", tmp_path / "c.yaml"), 3, "trackr")


def test_config_prints_what_it_reads(tmp_path):
    (tmp_path / "c.yaml").write_bytes(rtmelody("config").stdout)
    assert rtmelody("config", "--config", tmp_path / "c.yaml", "--check").returncode == 0
    assert json.loads(rtmelody("config", "--config", ROOT / "config.yaml", "--json").stdout)["midi"]["port"] == "rtmelody"


def test_bad_model(tmp_path):
    (tmp_path / "c.yaml").write_text("model: nowhere\n")
    refused(rtmelody("demo", "--config", tmp_path / "c.yaml"), 4, "nowhere")


def test_no_such_device():
    refused(rtmelody("listen", "--no-midi", "--device", "no such device", JACK_NO_START_SERVER="1"), 6)
    refused(rtmelody("listen", "--no-midi", "--device", "²", JACK_NO_START_SERVER="1"), 6)


def test_standard_input_is_no_device_to_be_checked():
    refused(rtmelody("check", "--device", "-", JACK_NO_START_SERVER="1"), 6, "listen")


@pytest.mark.parametrize(("verb", "closed"), [("send localhost", "<&-"), ("recv", ">&-")])
def test_a_closed_stream_is_said_in_a_sentence(verb, closed):
    command = f"exec '{sys.executable}' -m rtmelody {verb} {closed}"
    refused(subprocess.run(["sh", "-c", command], capture_output=True, check=False, timeout=60), 20, "closed")


def test_devices_lists_or_says_that_there_are_none():
    result = rtmelody("devices", JACK_NO_START_SERVER="1")
    if result.returncode != 6:  # no PortAudio on this machine
        assert result.returncode == 0, result.stderr.decode()
        assert result.stdout


def test_bad_option():
    refused(rtmelody("listen", "--rate", "12", "--no-midi"), 3, "sample_rate")


def test_no_portaudio(tmp_path):
    """A sounddevice that finds no PortAudio raises OSError when it is imported."""
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    refused(rtmelody("devices", PYTHONPATH=str(tmp_path)), 6, "libportaudio2")


def test_demo(tmp_path):
    result = rtmelody("demo", "--pace", 8, "-o", tmp_path)
    assert result.returncode == 0, result.stderr.decode()
    assert b" 0 overflows" in result.stdout
    played = [message.note for message in mido.MidiFile(tmp_path / "demo.mid") if message.type == "note_on"]
    truth = [int(line.split("\t")[2]) for line in (DATA / "demo.tsv").read_text().splitlines()[1:]]
    assert abs(len(played) - len(truth)) <= 3
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")


def test_training_refuses_its_test_soundfont(tmp_path):
    font, copy = tmp_path / "font.sf2", tmp_path / "sources" / "soundfonts" / "copy.sf2"
    copy.parent.mkdir(parents=True)
    for path in (font, copy):
        path.write_bytes(b"sound")
    (tmp_path / "alias.sf2").symlink_to(font)
    rest = ("--held-out", font, "--work", tmp_path / "w")
    refused(rtmelody("train", "--soundfont", tmp_path / "alias.sf2", *rest), 9, "held-out")
    refused(rtmelody("train", "--sources", tmp_path / "sources", *rest), 9, "held-out")
