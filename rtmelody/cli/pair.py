"""`rtmelody pair`: two devices agree on a key, each hearing the other play."""

import json
import os
import sys
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtmelody.cli.options import config_option, index_or_name, overridden, until_signal
from rtmelody.errors import PairingError, RtmelodyError

if TYPE_CHECKING:
    from rtmelody.io.channel import Channel
    from rtmelody.pairing.melody import Role
    from rtmelody.pairing.session import PairResult

CALL_PATIENCE_S = 120.0
KEY_MODE = 0o600  # for its owner alone
DEMO_RATE, DEMO_NOISE = 44_100, 0.01


class Address(click.ParamType):  # type: ignore[type-arg]
    """HOST:PORT, HOST or :PORT."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> tuple[str, int]:
        """Host and port, with defaults for what is missing."""
        from rtmelody.io.channel import DEFAULT_PORT

        if isinstance(value, tuple):
            return value
        host, colon, port = str(value).rpartition(":") if ":" in str(value) else (str(value), "", "")
        if colon and not port.isdigit():
            self.fail(f"{port!r} is no port", param, context)
        return host.strip("[]"), int(port) if colon else DEFAULT_PORT


def sound_options(command: Callable[..., None]) -> Callable[..., None]:
    """What both sides need."""
    options = [
        click.option("-d", "--device", help="Input: an index, a name or a part of a name (see `rtmelody devices`)."),
        click.option("-o", "--output", help="Output, likewise."),
        click.option("--rate", type=int, help="Sample rate in Hz; default: the input's own."),
        click.option("--stdio", is_flag=True, help="Talk through standard input and output instead of TCP."),
        click.option(
            "--key-file", type=click.Path(path_type=Path, dir_okay=False), help="Write the key here (32 bytes, mode 0600)."
        ),
        click.option("--key-fd", type=int, help="Write the key to this open file descriptor."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON (never the key)."),
        config_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def pair() -> None:
    """Agree on a secret key with another device, and let your ears see to it that nobody sits in between.

    \b
    rtmelody pair listen --key-file key                 on one device
    rtmelody pair connect 192.168.0.7 --key-file key    on the other, in the same room
    rtmelody pair demo                                  both, in a simulated room

    The devices exchange keys over the network; then each plays a melody that follows from what it received, and recognizes the
    other's. You hear the same tune twice; if not, or if another sounds, break it off. Exit codes: 20 no connection, 21 the peer
    broke the protocol, 22 no proper melody, 23 the melodies differ (somebody may sit in between), 24 another melody or an
    alarm, 25 no answer in time.
    """  # noqa: D301 (click wants the character itself)


@pair.command()
@click.argument("address", type=Address(), default="")
@sound_options
def listen(address: tuple[str, int], stdio: bool, **options: Any) -> None:
    """Wait for a device that connects (to ADDRESS, HOST:PORT; default: every interface, port 47600)."""
    from rtmelody.io.channel import Stdio, Tcp
    from rtmelody.pairing.melody import Role

    _run(
        Role.RESPONDER,
        lambda stopping: Stdio() if stdio else Tcp.accept(*address, CALL_PATIENCE_S, stopping),
        err=stdio,
        **options,
    )


@pair.command()
@click.argument("address", type=Address(), default="")
@sound_options
def connect(address: tuple[str, int], stdio: bool, **options: Any) -> None:
    """Connect to a device that listens at ADDRESS (HOST or HOST:PORT)."""
    from rtmelody.io.channel import Stdio, Tcp
    from rtmelody.pairing.melody import Role

    if not stdio and not address[0]:
        raise click.UsageError("Give the address of the device that listens, or --stdio.")
    _run(Role.INITIATOR, lambda _stopping: Stdio() if stdio else Tcp.connect(*address, CALL_PATIENCE_S), err=stdio, **options)


@pair.command()
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Folder for pair-demo.png."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the room's noise.")
@config_option
def demo(output: Path, seed: int, config_file: Path | None) -> None:
    """Let two devices pair through a simulated room with noise, and draw what one of them heard (pair-demo.png)."""
    _require_cryptography()
    import numpy as np

    from rtmelody.config import load_config
    from rtmelody.core.network import Network, model_folder
    from rtmelody.core.recognizer import Recognizer
    from rtmelody.events import notes
    from rtmelody.io.files import make_folder, write_whole
    from rtmelody.io.pictures import picture
    from rtmelody.pairing.air import Room, meet
    from rtmelody.pairing.melody import Role
    from rtmelody.pairing.party import Party

    make_folder(output)
    config, rng = load_config(config_file), np.random.default_rng(seed)
    parties = {role: Party(role, DEMO_RATE, Network(model_folder(config.model)), os.urandom) for role in Role}
    noise = Room(noise=lambda _role, count: rng.normal(0, DEMO_NOISE, count).astype(np.float32))
    meeting = meet(parties, DEMO_RATE, noise)
    heard = meeting.heard[Role.RESPONDER]
    recognizer = Recognizer(DEMO_RATE, config)
    found = notes(recognizer.push(heard) + recognizer.flush(), DEMO_RATE)
    title = "rtmelody pair demo: what the responder heard, the other device and then itself"
    write_whole(output / "pair-demo.png", picture(heard, DEMO_RATE, found, title))
    for role, party in parties.items():
        click.echo(f"{role.name.lower():10s} {_report(party.result(), as_json=False)}")
    click.echo(f"It took {meeting.samples / DEMO_RATE:.1f} s; see {output / 'pair-demo.png'}.")


def _run(
    role: "Role",
    call: "Callable[[threading.Event], Channel]",
    *,
    err: bool,
    device: str | None,
    output: str | None,
    rate: int | None,
    key_file: Path | None,
    key_fd: int | None,
    as_json: bool,
    config_file: Path | None,
) -> None:
    """Open sound and channel, pair, hand out the key; what there is to say goes to standard error with `err`."""
    _require_cryptography()
    from rtmelody.config import load_config
    from rtmelody.core.network import Network, model_folder
    from rtmelody.io.audio import Loudspeaker, Microphone
    from rtmelody.io.files import write_whole
    from rtmelody.pair import check_destination, pair
    from rtmelody.pairing.party import Party

    check_destination(key_file, key_fd)
    devices = {"device": index_or_name(device), "output_device": index_or_name(output), "sample_rate": rate}
    config = overridden(load_config(config_file), audio=devices)
    network = Network(model_folder(config.model))
    microphone = Microphone(config.audio)
    loudspeaker = Loudspeaker(config.audio, microphone.sample_rate)
    stopping = until_signal()
    code = RtmelodyError.exit_code
    try:
        channel = call(stopping)
        click.echo("Connected; now listen.", err=True)
        microphone.start()
        loudspeaker.start()
        result = pair(Party(role, microphone.sample_rate, network, os.urandom), channel, microphone, loudspeaker, stopping)
        channel.close()
        if key_file:
            write_whole(key_file, result.session_key, KEY_MODE)
        if key_fd is not None:
            os.write(key_fd, result.session_key)
        click.echo(_report(result, as_json), err=err)
        code = 0
    except RtmelodyError as error:
        code = error.exit_code
        click.echo(f"rtmelody: {error}", err=True)
    finally:
        closed = [stream.stop() for stream in (microphone, loudspeaker)]
        if not all(closed):  # PortAudio hangs: nothing else is left to do
            sys.stdout.flush()
            os._exit(code)
    sys.exit(code)


def _require_cryptography() -> None:
    """Say what is missing before anything imports it.

    Raises PairingError.
    """
    if find_spec("cryptography") is None:
        raise PairingError("Pairing needs the package cryptography: run `pip install 'rtmelody[pair]'`.")


def _report(result: "PairResult", as_json: bool) -> str:
    """What may be known."""
    facts = {
        "peer": result.peer_id,
        "transcript": result.transcript_hash.hex(),
        "authentication_bits": round(result.authentication_bits, 1),
        "notes_wrong": result.notes_wrong,
    }
    text = f"Paired with {result.peer_id}; {result.notes_wrong} of the notes were misheard."
    return json.dumps(facts) if as_json else text
