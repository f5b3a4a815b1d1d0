"""A virtual environment for each adapter, made when it is first needed: the peers' dependencies exclude one another.

An adapter says what it needs in its inline script metadata (PyPA's specification, once PEP 723). Under [tool.benchmarks]:
`without-dependencies` lists packages whose own requirements are wrong here, `debian` packages that bring the program, and
`project` asks for rtmelody itself; `peer` is the package whose version counts.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
METADATA = re.compile(r"^# /// script$\n(?P<content>(?:^#(?: .*)?$\n)+)^# ///$", re.MULTILINE)
MEGABYTE = 1024 * 1024


class AbsentError(Exception):
    """A peer that cannot be installed here, and why."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Where an adapter runs: its interpreter, what was installed for it (MB), and the version of the peer."""

    python: Path
    install_mb: float
    version: str


def prepare(adapter: Path, folder: Path) -> Environment:
    """The environment of an adapter; a change of its needs makes it anew.

    Raises AbsentError if something cannot be installed.
    """
    needs = read_needs(adapter)
    special = needs.get("tool", {}).get("benchmarks", {})
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8") if special.get("project") else ""
    home = folder / f"{adapter.stem}-{hashlib.sha256(f'{needs!r}{project}'.encode()).hexdigest()[:8]}"
    debian = _debian(special.get("debian", []))
    if not (home / "complete").exists():
        shutil.rmtree(home, ignore_errors=True)
        _run([sys.executable, "-m", "venv", home])
        _pip(home, *needs["dependencies"], *(["--editable", ROOT] if project else []))
        if special.get("without-dependencies"):
            _pip(home, "--no-deps", *special["without-dependencies"])
        (home / "complete").touch()
    python = home / "bin" / "python"
    if debian:
        sizes, versions = zip(*debian, strict=True)
        return Environment(python, sum(sizes), versions[0])
    packages = next((home / "lib").glob("python*/site-packages"))
    size = sum(path.stat().st_size for path in packages.rglob("*") if path.is_file())
    return Environment(python, size / MEGABYTE, _versions(home)[special["peer"]])


def read_needs(adapter: Path) -> dict[str, Any]:
    """The inline metadata of a script."""
    match = METADATA.search(adapter.read_text(encoding="utf-8"))
    if not match:
        raise ValueError(f"{adapter} has no inline script metadata")
    return tomllib.loads(
        "".join(line.removeprefix("#").removeprefix(" ") for line in match["content"].splitlines(keepends=True))
    )


def _pip(home: Path, *arguments: object) -> None:
    _run([home / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", *arguments])


def _versions(home: Path) -> dict[str, str]:
    lines = _run([home / "bin" / "pip", "list", "--format=freeze", "--disable-pip-version-check"]).splitlines()
    return dict(line.split("==", 1) for line in lines if "==" in line)


def _debian(packages: list[str]) -> list[tuple[float, str]]:
    """Installed size (MB) and version of Debian packages."""
    answers = [_run(["dpkg-query", "-W", "-f", "${Installed-Size} ${Version}", package]).split() for package in packages]
    return [(int(size) / 1024, version) for size, version in answers]


def _run(command: list[object]) -> str:
    try:
        return subprocess.run([*map(str, command)], check=True, capture_output=True, text=True).stdout
    except FileNotFoundError as error:
        raise AbsentError(f"{command[0]} is missing") from error
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        raise AbsentError(lines[-1] if lines else f"{command[0]} failed") from error
