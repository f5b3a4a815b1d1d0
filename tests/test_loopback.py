"""`rtmelody latency` on a real JACK server whose output is led back to its input."""

import json
import subprocess
import sys

import pytest
from conftest import ENVIRONMENT, needs, ports, wait_for
from stage import Stage

pytestmark = needs("jackd", "jack_wait", "jack_lsp", "jack_connect")

COMMAND = [sys.executable, "-m", "rtmelody", "latency", "--tones", "5"]


def cable():
    """From the program's output to its input, once it has both."""
    own = [name for name in ports() if "PortAudio" in name]
    out, into = (next((name for name in own if kind in name), None) for kind in (":out", ":in"))
    return out and into and subprocess.run(["jack_connect", out, into], env=ENVIRONMENT, check=True, capture_output=True)


@pytest.mark.usefixtures("jack_server")
def test_every_tone_is_timed_from_the_output_to_midi(tmp_path):
    with Stage(tmp_path) as stage:
        program = stage.start(*COMMAND, "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_for(cable)
        out, complaint = program.communicate(timeout=60)
    assert program.returncode == 0, complaint
    found = json.loads(out)
    assert found["heard"] == found["played"] == 5
    assert set(found) == {"played", "heard", "device", "hearing", "computing", "midi"}
    assert 5 <= found["hearing"]["p50"] <= 100
    assert all(0 <= found[stage]["p50"] <= found[stage]["p90"] for stage in ("device", "computing", "midi"))


@pytest.mark.usefixtures("jack_server")
def test_without_a_cable_it_says_what_to_do(tmp_path):
    with Stage(tmp_path) as stage:
        program = stage.start(*COMMAND, stderr=subprocess.PIPE)
        _, complaint = program.communicate(timeout=60)
    assert program.returncode == 6
    assert "No tone came back" in complaint.decode()
