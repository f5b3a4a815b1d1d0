"""`rtmelody pair` as two devices run it: two processes, TCP, and a real JACK server for air."""

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile
from conftest import ENVIRONMENT, needs, ports, wait_for

from rtmelody.cli.pair import Address
from rtmelody.core.ring import Ring
from rtmelody.errors import (
    AudioFileError,
    InterferenceError,
    LockedOutError,
    MismatchError,
    OutputError,
    PairingError,
    PairingTimeoutError,
    ProtocolError,
)
from rtmelody.io.channel import DEFAULT_PORT, Tcp
from rtmelody.io.files import read_audio, write_whole
from rtmelody.io.peers import Peers
from rtmelody.io.recordings import RecordedLoudspeaker, RecordedMicrophone
from rtmelody.pair import check_destination
from rtmelody.pairing.attempt import Send, State
from rtmelody.pairing.melody import Role
from rtmelody.pairing.session import Session

RTMELODY = [sys.executable, "-m", "rtmelody"]
PAIR = [*RTMELODY, "pair"]


def relay(one, other):
    """Honest wires: whatever comes from one goes to the other."""

    def forward(source, sink):
        while data := source.recv(4096):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

    for source, sink in ((one, other), (other, one)):
        threading.Thread(target=forward, args=(source, sink), daemon=True).start()


def man_in_the_middle(listener, connector):
    """He agrees on a key with each of them; the melodies he has to leave to the air."""

    def pose(connection, role):
        session = Session(role, os.urandom)
        for output in session.start():
            connection.sendall(output.data)
        while data := connection.recv(4096):
            for output in session.receive(data):
                if isinstance(output, Send):
                    connection.sendall(output.data)

    for connection, role in ((listener, Role.INITIATOR), (connector, Role.RESPONDER)):
        threading.Thread(target=pose, args=(connection, role), daemon=True).start()


@contextmanager
def two_devices(folder, between):
    """Two `rtmelody pair` whose loudspeakers are wired to both microphones before `between` lets them speak."""
    with ExitStack() as stack:
        gate = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        address = f"127.0.0.1:{gate.getsockname()[1]}"
        with socket.create_server(("127.0.0.1", 0)) as probe:
            free = probe.getsockname()[1]

        def start(verb, where, key):
            pipe = subprocess.PIPE
            command = [*PAIR, verb, where, "--key-file", folder / key, "--home", folder / verb, "--json"]
            process = stack.enter_context(subprocess.Popen(command, env=ENVIRONMENT, stdout=pipe, stderr=pipe, text=True))
            stack.callback(process.kill)
            return process

        processes = [start("listen", f"127.0.0.1:{free}", "one.key"), start("connect", address, "other.key")]
        connector = stack.enter_context(gate.accept()[0])
        listener = stack.enter_context(called(free))
        wait_for(lambda: sum(name.startswith("PortAudio") for name in ports()) == 4 and wired() == 4)
        rewire()
        between(listener, connector)
        yield processes


def called(port):
    """A connection to a port, once somebody listens there."""
    found = []

    def attempt():
        try:
            found.append(socket.create_connection(("127.0.0.1", port)))
        except OSError:
            return False
        return True

    wait_for(attempt)
    return found[0]


def jack(*command):
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout


def wired():
    """How many of the devices' ports PortAudio has connected with the sound card's, as it does when a stream starts."""
    lines = jack("jack_lsp", "-c").splitlines()
    return sum(line.startswith("   ") and "PortAudio" in line for line in lines)


def rewire():
    """Both loudspeakers into both microphones."""
    outputs, inputs = ([name for name in ports() if name.startswith("PortAudio") and kind in name] for kind in (":out", ":in"))
    for number, sink in enumerate(inputs):
        jack("jack_disconnect", "system:capture_1", sink)
        jack("jack_disconnect", outputs[number], "system:playback_1")
        for source in outputs:
            jack("jack_connect", source, sink)


def identity(home):
    """The name by which others know the device that keeps its identity there."""
    return Peers(home).identity().public_key().public_bytes_raw().hex()[:32]


with_jack = needs("jackd", "jack_wait", "jack_lsp", "jack_connect", "jack_disconnect")


@with_jack
@pytest.mark.usefixtures("jack_server")
def test_two_processes_pair_through_jack(tmp_path):
    with two_devices(tmp_path, relay) as processes:
        answers = [process.communicate(timeout=60) for process in processes]
        assert [process.returncode for process in processes] == [0, 0], answers
    facts = [json.loads(out) for out, _ in answers]
    assert facts[0]["transcript"] == facts[1]["transcript"]
    assert facts[0]["authentication_bits"] > 24
    assert [fact["times"] for fact in facts] == [1, 1]
    assert {fact["peer"] for fact in facts} == {identity(tmp_path / verb) for verb in ("listen", "connect")}
    keys = [tmp_path / "one.key", tmp_path / "other.key"]
    assert len(keys[0].read_bytes()) == 32
    assert keys[0].read_bytes() == keys[1].read_bytes()
    assert [key.stat().st_mode & 0o777 for key in keys] == [0o600, 0o600]
    assert all(keys[0].read_bytes().hex() not in out + err for out, err in answers)


@with_jack
@pytest.mark.usefixtures("jack_server")
def test_a_third_process_in_the_middle_fails(tmp_path):
    failures = {error.exit_code for error in (MismatchError, InterferenceError, PairingTimeoutError, ProtocolError)}
    with two_devices(tmp_path, man_in_the_middle) as processes:
        answers = [process.communicate(timeout=60) for process in processes]
        codes = [process.returncode for process in processes]
    assert set(codes) <= failures, answers
    assert MismatchError.exit_code in codes
    assert not list(tmp_path.glob("*.key"))
    assert not any(Peers(tmp_path / verb).known() for verb in ("listen", "connect"))


def test_a_secret_goes_from_one_device_to_the_other(tmp_path):
    """Through files instead of sound devices: what one writes, the other hears."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    one, other = tmp_path / "one.wav", tmp_path / "other.wav"
    receiver = [*RTMELODY, "recv", address, "--in", one, "--out", other, "--home", tmp_path / "receiver"]
    sender = [*RTMELODY, "send", address, "--in", other, "--out", one, "--home", tmp_path / "sender", "--json"]
    pipe, secret = subprocess.PIPE, b"correct horse\x00\xff"
    with subprocess.Popen(receiver, stdout=pipe, stderr=pipe) as process:
        wait_for(other.exists)
        sent = subprocess.run(sender, input=secret, capture_output=True, check=False, timeout=60)
        received, said = process.communicate(timeout=60)
    assert (sent.returncode, process.returncode) == (0, 0), (sent.stderr, said)
    assert received == secret
    assert secret not in sent.stdout + sent.stderr + said
    assert json.loads(sent.stdout)["peer"] == identity(tmp_path / "receiver")
    listed = subprocess.run([*PAIR, "peers", "--json", "--home", tmp_path / "sender"], capture_output=True, check=True)
    assert json.loads(listed.stdout)[identity(tmp_path / "receiver")]["times"] == 1


def test_two_processes_pair_over_a_pipe(tmp_path):
    """Each one's standard output is the other's standard input; the key goes to an open file descriptor."""
    (one_in, one_out), (other_in, other_out) = os.pipe(), os.pipe()
    with ExitStack() as stack:

        def start(verb, source, sink, heard, said):
            key = stack.enter_context((tmp_path / f"{verb}.key").open("wb"))
            files = ["--in", tmp_path / heard, "--out", tmp_path / said, "--home", tmp_path / verb]
            command = [*PAIR, verb, "--stdio", "--key-fd", str(key.fileno()), *files]
            inherited = {"stdin": source, "stdout": sink, "stderr": subprocess.PIPE, "pass_fds": [key.fileno()]}
            return stack.enter_context(subprocess.Popen(command, text=True, **inherited))

        processes = [
            start("listen", one_in, other_out, "one.wav", "other.wav"),
            start("connect", other_in, one_out, "other.wav", "one.wav"),
        ]
        for end in (one_in, one_out, other_in, other_out):
            os.close(end)
        words = [process.communicate(timeout=90)[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], words
    keys = [(tmp_path / f"{verb}.key").read_bytes() for verb in ("listen", "connect")]
    assert len(keys[0]) == 32
    assert keys[0] == keys[1]
    assert all("Paired with" in said for said in words)


def test_three_failures_lock_the_command(tmp_path):
    for _ in range(3):
        Peers(tmp_path).expect_failure()
    command = [*PAIR, "listen", "--home", tmp_path]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == LockedOutError.exit_code
    assert result.stderr.count("\n") == 1
    assert "wait" in result.stderr


def test_attempts_side_by_side_have_three_guesses_too(tmp_path):
    """All of them may have begun before the first has failed."""
    peers = Peers(tmp_path)
    for _ in range(3):
        peers.check_lockout()
        peers.expect_failure()
    with pytest.raises(LockedOutError, match=r"wait 10 min\."):
        peers.expect_failure()


def test_an_attempt_counts_once_somebody_may_guess(tmp_path):
    """Who gets the responder's key knows its melody, and need not stay to be refused; who only knocks has learnt nothing."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, np.zeros(48_000), 48_000)
    command = [*PAIR, "listen", f"127.0.0.1:{port}", "--in", silence, "--out", tmp_path / "out.wav", "--home", tmp_path]
    for knocks_only in (True, False, False, False):
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process, called(port) as attacker:
            session = Session(Role.INITIATOR, os.urandom)
            attacker.sendall(b"G" if knocks_only else session.start()[0].data)
            while not knocks_only and session.state is not State.I_PLAYING:
                for output in session.receive(attacker.recv(4096)):
                    if isinstance(output, Send) and session.state is not State.I_PLAYING:
                        attacker.sendall(output.data)
            attacker.close()
            said = process.communicate(timeout=60)[1]
            assert process.returncode in (PairingError.exit_code, ProtocolError.exit_code), said
    assert subprocess.run(command, capture_output=True, check=False).returncode == LockedOutError.exit_code


def test_a_recording_stands_for_a_microphone_while_it_grows(tmp_path):
    path, said = tmp_path / "sound.wav", np.linspace(0.1, 0.5, 4_800, dtype=np.float32)
    loudspeaker = RecordedLoudspeaker(path, 8_000)
    microphone = RecordedMicrophone(path, 1.0, threading.Event())
    assert microphone.sample_rate == 8_000
    microphone.start()
    loudspeaker.write(said[:2_400])
    loudspeaker.write(said[2_400:])
    heard = []
    wait_for(lambda: heard.append(microphone.ring.read()) or np.count_nonzero(np.concatenate(heard)) == len(said))
    assert microphone.stop()
    assert loudspeaker.stop()
    sound = np.concatenate(heard)
    np.testing.assert_allclose(sound[np.flatnonzero(sound)[0] :][: len(said)], said, atol=1e-4)
    np.testing.assert_allclose(read_audio(path)[0], said, atol=1e-4)


def test_a_recording_that_is_written_anew_is_heard_from_its_beginning(tmp_path):
    """A file that an earlier attempt has left is longer than what its new writer has come to."""
    path, heard = tmp_path / "sound.wav", []
    old = RecordedLoudspeaker(path, 8_000)
    old.write(np.full(4_000, 0.2, np.float32))
    old.stop()
    microphone = RecordedMicrophone(path, 1.0, threading.Event())
    microphone.start()
    wait_for(lambda: heard.append(microphone.ring.read()) or np.count_nonzero(np.concatenate(heard)) == 4_000)
    new = RecordedLoudspeaker(path, 8_000)
    new.write(np.full(2_000, 0.5, np.float32))
    wait_for(lambda: heard.append(microphone.ring.read()) or np.count_nonzero(np.concatenate(heard) > 0.4) == 2_000)
    microphone.stop()
    new.stop()


def test_a_recording_without_a_header_is_heard_once_it_has_one(tmp_path):
    """Its new writer has only just emptied it."""
    path, heard = tmp_path / "sound.wav", []
    RecordedLoudspeaker(path, 8_000).stop()
    microphone = RecordedMicrophone(path, 1.0, threading.Event())
    path.write_bytes(b"")
    microphone.start()
    wait_for(lambda: heard.append(microphone.ring.read()) or len(np.concatenate(heard)) > 400)
    new = RecordedLoudspeaker(path, 8_000)
    new.write(np.full(2_000, 0.5, np.float32))
    wait_for(lambda: heard.append(microphone.ring.read()) or np.count_nonzero(np.concatenate(heard)) == 2_000)
    microphone.stop()
    new.stop()


def test_what_is_heard_and_what_is_played_have_one_rate(tmp_path):
    """Else a melody would sound at another pitch than its file says: the rate of what is there already, or of --rate."""
    command = [sys.executable, "-m", "rtmelody", "pair", "listen", "--audio-only", "--home", tmp_path]
    late, early, out = tmp_path / "late.wav", tmp_path / "early.wav", tmp_path / "out.wav"
    with subprocess.Popen([*command, "--in", late, "--out", out], stderr=subprocess.PIPE, text=True) as process:
        wait_for(out.exists)
        RecordedLoudspeaker(late, 48_000).stop()
        assert "48000" in process.communicate(timeout=60)[1]
        assert process.returncode == AudioFileError.exit_code
    out.unlink()
    RecordedLoudspeaker(early, 48_000).stop()
    with subprocess.Popen([*command, "--in", early, "--out", out], stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: out.exists() and out.stat().st_size)
        process.terminate()
    assert soundfile.info(out).samplerate == 48_000


def test_a_recording_that_is_none_is_said_in_a_sentence(tmp_path):
    (tmp_path / "text.wav").write_text("no sound at all, but some text", encoding="utf-8")
    for name in ("text.wav", "missing.wav"):
        with pytest.raises(AudioFileError, match=name):
            RecordedMicrophone(tmp_path / name, 0.1, threading.Event())
    with pytest.raises(OutputError):
        RecordedLoudspeaker(tmp_path / "no" / "folder.wav", 8_000)


def test_a_key_file_is_written_whole_and_for_its_owner_alone(tmp_path):
    path = tmp_path / "key"
    write_whole(path, b"k" * 32, 0o600)
    write_whole(path, b"l" * 32, 0o600)
    assert path.read_bytes() == b"l" * 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OutputError):
        check_destination(tmp_path / "no" / "key", None)
    os.mkfifo(tmp_path / "pipe")  # somebody may have laid it there
    with pytest.raises(OutputError, match="no file"):
        check_destination(tmp_path / "pipe", None)


def test_a_key_is_never_shown():
    for descriptor in (0, 1, 2, 987):
        with pytest.raises(OutputError):
            check_destination(None, descriptor)
    with Path(os.devnull).open("rb") as unwritable, pytest.raises(OutputError, match="written to"):
        check_destination(None, unwritable.fileno())


def test_nobody_there_is_said_in_a_sentence():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(PairingError, match="rtmelody pair listen"):
        Tcp.connect("127.0.0.1", port, 1.0)
    with pytest.raises(PairingError, match="Nobody called"):
        Tcp.accept("127.0.0.1", port, 0.05)


def test_who_calls_a_moment_early_gets_through():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    answered = []
    listening = threading.Timer(0.5, lambda: answered.append(Tcp.accept("127.0.0.1", port, 10.0)))
    listening.start()
    caller = Tcp.connect("127.0.0.1", port, 10.0)
    listening.join()
    for end in (caller, *answered):
        end.close()
    assert answered


def test_what_is_heard_and_what_is_played_are_two_files(tmp_path):
    recording = tmp_path / "inout.wav"
    soundfile.write(recording, np.zeros(48_000), 48_000)
    before = recording.read_bytes()
    command = [*PAIR, "connect", "127.0.0.1:9", "--in", recording, "--out", recording, "--home", tmp_path]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == OutputError.exit_code
    assert recording.read_bytes() == before


@pytest.mark.parametrize("host", ["a..b", "no.such.name.invalid"])
def test_a_name_that_is_none_is_said_in_a_sentence(host):
    with pytest.raises(PairingError, match="Nobody listens at"):
        Tcp.connect(host, 1, 1.0)
    with pytest.raises(PairingError, match="Cannot listen at"):
        Tcp.accept(host, 0, 0.05)


def test_a_call_ends_when_it_is_to_stop():
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(PairingError, match="no answer"):
        Tcp.connect("127.0.0.1", 1, 60.0, stopping)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", ("", DEFAULT_PORT)),
        (":7", ("", 7)),
        ("host", ("host", DEFAULT_PORT)),
        ("host:7", ("host", 7)),
        ("[::1]:7", ("::1", 7)),
    ],
)
def test_addresses_are_understood(text, address):
    assert Address().convert(text, None, None) == address


@pytest.mark.parametrize("text", ["host:99999", "host:0", "host:x", "h:²", "::1", "[::1", "host:"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(click.BadParameter, match="is no address"):
        Address().convert(text, None, None)


def test_a_peer_that_hangs_up_is_noticed():
    ours, theirs = tcp_pair()
    channel = Tcp(ours)
    assert channel.receive() == b""
    channel.unread(b"put back")
    assert channel.receive() == b"put back"
    theirs.sendall(b"x")
    wait_for(lambda: channel.receive() == b"x", 5)
    theirs.close()
    with pytest.raises(PairingError, match="hung up"):
        wait_for(channel.receive, 5)
    channel.close()


def tcp_pair():
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        return server.accept()[0], theirs


def test_a_loudspeaker_plays_what_was_written_then_silence():
    ring, block = Ring(8), np.full(4, 9, np.float32)
    for samples in ([1, 2, 3], [4, 5, 6]):
        ring.write(np.array(samples, np.float32))
    ring.read_into(block)
    assert block.tolist() == [1, 2, 3, 4]
    ring.write(np.array([7, 8, 9, 10], np.float32))  # around the end of the buffer
    ring.read_into(block)
    assert block.tolist() == [5, 6, 7, 8]
    ring.read_into(block)
    assert block.tolist() == [9, 10, 0, 0]


def test_the_demonstration_leaves_a_picture(tmp_path):
    result = subprocess.run([*PAIR, "demo", "-o", tmp_path], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("Paired with") == 2
    assert (tmp_path / "pair-demo.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("verb", [["demo"], ["listen"], ["connect", "127.0.0.1"]])
def test_without_cryptography_it_says_what_to_install(verb):
    code = "import sys\nsys.modules['cryptography'] = None\nimport importlib.util\nfound = importlib.util.find_spec\n"
    code += "importlib.util.find_spec = lambda name, *rest: None if name == 'cryptography' else found(name, *rest)\n"
    code += f"from rtmelody.cli.main import main\nmain({['pair', *verb]!r})\n"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == PairingError.exit_code
    assert (
        result.stderr == "rtmelody: Pairing needs the packages cryptography and reedsolo: run `pip install 'rtmelody[pair]'`.\n"
    )
