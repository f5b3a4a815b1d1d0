"""What is shipped: the wheel finds its model, imports go one way, and the checks that say so can fail."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import DATA, ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", out, ROOT], check=True, capture_output=True)
    (path,) = out.glob("*.whl")
    return path


def test_wheel_carries_model_and_recording(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"rtmelody/models/melody/model.tflite", "rtmelody/models/melody/MODEL_CARD.md", "rtmelody/data/demo.ogg"} <= names
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)


def test_installed_wheel_transcribes(wheel, tmp_path):
    """Unpacked elsewhere, with the checkout out of sight."""
    site = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, wheel], check=True)
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r}); import rtmelody; assert rtmelody.__file__.startswith({str(site)!r})\n"
    )
    code += "from rtmelody.cli.main import main; main(sys.argv[1:])"
    result = subprocess.run(
        [sys.executable, "-c", code, "transcribe", DATA / "demo.ogg", "-o", "-", "--format", "jsonl"],
        cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr.decode()
    assert len(result.stdout.splitlines()) > 40


def lint_imports(root):
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_imports_go_one_way():
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("core/tracker.py", "import threading"),
        ("core/ring.py", "import rtmelody.io.files"),
        ("io/midi.py", "import rtmelody.live"),
        ("live.py", "import sounddevice"),
        ("pairing/session.py", "import asyncio"),
        ("pairing/crypto.py", "import rtmelody.io.audio"),
    ],
)
def test_a_planted_import_is_caught(module, line, tmp_path):
    shutil.copytree(ROOT / "rtmelody", tmp_path / "rtmelody", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert lint_imports(tmp_path).returncode == 0
    planted = tmp_path / "rtmelody" / module
    planted.write_text(planted.read_text() + f"\n{line}\n")
    result = lint_imports(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "BROKEN" in result.stdout
