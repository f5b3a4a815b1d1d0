"""`rtmelody pair`: two devices agree on a key, each hearing the other play."""

import json
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtmelody.cli.options import config_option, device_option, index_or_name, overridden, until_signal
from rtmelody.errors import AudioFileError, PairingError

if TYPE_CHECKING:
    from rtmelody.config import Config
    from rtmelody.io.channel import Channel
    from rtmelody.io.peers import Peer
    from rtmelody.pair import Conversation
    from rtmelody.pairing.attempt import PairResult
    from rtmelody.pairing.melody import Role

CALL_PATIENCE_S = 120.0
DEMO_RATE, DEMO_NOISE = 44_100, 0.01

Call = Callable[[threading.Event], "Channel"]


class Address(click.ParamType):  # type: ignore[type-arg]
    """HOST:PORT, HOST or :PORT; a host of IPv6 in brackets."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> tuple[str, int]:
        """Host and port, with defaults for what is missing."""
        from rtmelody.config import PORTS
        from rtmelody.io.channel import DEFAULT_PORT

        if isinstance(value, tuple):
            return value
        parts = re.fullmatch(r"(?:\[(.*)\]|([^:]*))(?::([0-9]+))?", value)
        if not parts or int(parts[3] or DEFAULT_PORT) not in PORTS:
            self.fail(f"{value!r} is no address: give HOST, HOST:PORT (1 to 65535) or [IPV6]:PORT", param, context)
        return parts[1] or parts[2] or "", int(parts[3] or DEFAULT_PORT)


home_option = click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    default=lambda: click.get_app_dir("rtmelody"),
    show_default="the user's configuration folder",
    help="Folder of this device's identity and of the peers that it remembers.",
)


def sound_options(command: Callable[..., None]) -> Callable[..., None]:
    """What everybody needs who pairs."""
    file = click.Path(path_type=Path, dir_okay=False)
    options = [
        device_option,
        click.option("-o", "--output", help="Output, likewise (see `rtmelody devices --outputs`)."),
        click.option("--rate", type=int, help="Sample rate in Hz; default: the input's own."),
        click.option(
            "--in", "in_file", type=file, help="Hear this recording instead of a microphone; it may still be growing."
        ),
        click.option("--out", "out_file", type=file, help="Write a WAV file instead of playing aloud."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON (never the key)."),
        home_option,
        config_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


def key_options(command: Callable[..., None]) -> Callable[..., None]:
    """How the channel is made, and where the key goes."""
    options = [
        click.option("--audio-only", is_flag=True, help="No network: the keys go through the air too (about 50 s)."),
        click.option("--stdio", is_flag=True, help="Talk through standard input and output instead of TCP."),
        click.option(
            "--key-file", type=click.Path(path_type=Path, dir_okay=False), help="Write the key here (32 bytes, mode 0600)."
        ),
        click.option("--key-fd", type=int, help="Write the key to this open file descriptor."),
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
    rtmelody pair listen --audio-only                   without a network, likewise connect
    rtmelody pair demo                                  both, in a simulated room
    rtmelody pair peers                                 who was paired with this device

    The devices exchange keys over the network; then each plays a melody that follows from what it received, and recognizes the
    other's. You hear the same tune twice; if not, or if another sounds, break it off. Exit codes: 20 no connection, 21 the peer
    broke the protocol, 22 no proper melody, 23 the melodies differ (somebody may sit in between), 24 another melody or an
    alarm, 25 no answer in time, 26 three failures in a row (wait ten minutes).
    """  # noqa: D301 (click wants the character itself)


@pair.command()
@click.argument("address", type=Address(), default="")
@key_options
@sound_options
def listen(address: tuple[str, int], **options: Any) -> None:
    """Wait for a device that connects (to ADDRESS, HOST:PORT; default: every interface, port 47600)."""
    from rtmelody.pairing.melody import Role

    _refuse_unused(address, **options)
    _pair(Role.RESPONDER, listening(address), **options)


@pair.command()
@click.argument("address", type=Address(), default="")
@key_options
@sound_options
def connect(address: tuple[str, int], **options: Any) -> None:
    """Connect to a device that listens at ADDRESS (HOST or HOST:PORT)."""
    from rtmelody.pairing.melody import Role

    _refuse_unused(address, **options)
    if not (address[0] or options["stdio"] or options["audio_only"]):
        raise click.UsageError("Give the address of the device that listens, or --stdio, or --audio-only.")
    _pair(Role.INITIATOR, calling(address), **options)


@pair.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@home_option
def peers(home: Path, as_json: bool) -> None:
    """List the devices that were paired with this one."""
    require_cryptography()
    from datetime import UTC, datetime

    from rtmelody.io.peers import Peers

    known = Peers(home).known()
    if as_json:
        click.echo(
            json.dumps({name: {"first": peer.first, "last": peer.last, "times": peer.times} for name, peer in known.items()})
        )
    for name, peer in known.items() if not as_json else ():
        click.echo(f"{name}  {peer.times} times, last {datetime.fromtimestamp(peer.last, UTC):%Y-%m-%d}")


@pair.command()
@click.argument("name")
@home_option
def forget(name: str, home: Path) -> None:
    """Remember the peer NAME (see `rtmelody pair peers`) no longer."""
    require_cryptography()
    from rtmelody.io.peers import Peers

    Peers(home).forget(name)


@pair.command()
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Folder for pair-demo.png."
)
@click.option("--audio-only", is_flag=True, help="Without a network.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the room's noise.")
@config_option
def demo(output: Path, audio_only: bool, seed: int, config_file: Path | None) -> None:
    """Let two processes pair through a simulated room with noise, and draw what one of them heard (pair-demo.png)."""
    require_cryptography()
    import numpy as np

    from rtmelody.apart import PartyApart
    from rtmelody.config import load_config
    from rtmelody.core.recognizer import Recognizer
    from rtmelody.events import notes
    from rtmelody.io import pictures
    from rtmelody.io.files import make_folder, write_whole
    from rtmelody.pairing.air import Room, meet
    from rtmelody.pairing.melody import Role

    make_folder(output)
    pictures.check()
    config, rng = load_config(config_file), np.random.default_rng(seed)
    parties = {role: PartyApart(role, DEMO_RATE, config.model, audio_only) for role in Role}
    noise = Room(noise=lambda _role, count: rng.normal(0, DEMO_NOISE, count).astype(np.float32))
    meeting = meet(parties, DEMO_RATE, noise)
    heard = meeting.heard[Role.RESPONDER]
    recognizer = Recognizer(DEMO_RATE, config)
    found = notes(recognizer.push(heard) + recognizer.flush(), DEMO_RATE)
    title = "rtmelody pair demo: what the responder heard, the other device and then itself"
    write_whole(output / "pair-demo.png", pictures.picture(heard, DEMO_RATE, found, title, config.tuning.a4_hz))
    for role, party in parties.items():
        result = party.result()
        click.echo(f"{role.name.lower():10s} Paired with {result.peer_id}; {result.notes_wrong} of the notes were misheard.")
    click.echo(f"It took {meeting.samples / DEMO_RATE:.1f} s; see {output / 'pair-demo.png'}.")


def calling(address: tuple[str, int]) -> Call:
    """How an initiator comes to a channel."""
    from rtmelody.io.channel import Tcp

    return lambda stopping: Tcp.connect(*address, CALL_PATIENCE_S, stopping)


def listening(address: tuple[str, int]) -> Call:
    """How a responder comes to one."""
    from rtmelody.io.channel import Tcp

    return lambda stopping: Tcp.accept(*address, CALL_PATIENCE_S, stopping)


def _refuse_unused(address: tuple[str, int], audio_only: bool, stdio: bool, **_others: Any) -> None:
    """Raises UsageError for ways to a channel that exclude each other."""
    if audio_only and (address[0] or stdio):
        raise click.UsageError("--audio-only needs no network: leave out the address and --stdio.")
    if stdio and address[0]:
        raise click.UsageError("--stdio needs no address: leave it out.")


def _pair(
    role: "Role",
    call: Call,
    *,
    audio_only: bool,
    stdio: bool,
    key_file: Path | None,
    key_fd: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Pair, then hand out the key; with `stdio`, what there is to say goes to standard error."""
    require_cryptography()
    from rtmelody.io.channel import Stdio
    from rtmelody.io.files import write_whole
    from rtmelody.io.peers import OWNER_ONLY
    from rtmelody.pair import check_destination

    check_destination(key_file, key_fd)

    def hand_out(paired: Paired, _conversation: "Conversation | None") -> None:
        if key_file:
            write_whole(key_file, paired.result.session_key, OWNER_ONLY)
        if key_fd is not None:
            os.write(key_fd, paired.result.session_key)
        click.echo(paired.report(as_json), err=stdio)

    if audio_only:
        meet(role, None, hand_out, **options)
    else:
        meet(role, (lambda _stopping: Stdio()) if stdio else call, hand_out, **options)


@dataclass(frozen=True, slots=True)
class Paired:
    """A pairing, and who the peer has turned out to be; without a channel it cannot tell."""

    result: "PairResult"
    name: str | None
    peer: "Peer | None"

    def report(self, as_json: bool) -> str:
        """What may be known."""
        times = self.peer.times if self.peer else 0
        facts = {
            "peer": self.name or self.result.peer_id,
            "times": times,
            "transcript": self.result.transcript_hash.hex(),
            "authentication_bits": round(self.result.authentication_bits, 1),
            "notes_wrong": self.result.notes_wrong,
        }
        before = {0: "", 1: ", whom this device meets for the first time"}.get(times, f", met {times} times now")
        text = f"Paired with {facts['peer']}{before}; {self.result.notes_wrong} of the notes were misheard."
        return json.dumps(facts) if as_json else text


def meet(
    role: "Role",
    call: Call | None,
    talk: "Callable[[Paired, Conversation | None], None]",
    *,
    device: str | None,
    output: str | None,
    rate: int | None,
    in_file: Path | None,
    out_file: Path | None,
    home: Path,
    config_file: Path | None,
) -> None:
    """Open sound and channel (none without `call`), pair, let the devices introduce themselves, and `talk`."""
    require_cryptography()
    from rtmelody.config import load_config
    from rtmelody.core.network import Network, model_folder
    from rtmelody.io.peers import Peers
    from rtmelody.pair import Audio, Conversation, pair

    known = Peers(home)
    known.check_lockout()
    identity = known.identity()
    devices = {"device": index_or_name(device), "output_device": index_or_name(output), "sample_rate": rate}
    config = overridden(load_config(config_file), audio=devices)
    network = Network(model_folder(config.model))
    stopping = until_signal()
    streams = _streams(config, in_file, out_file, stopping)
    try:
        channel = call(stopping) if call else None
        click.echo("Connected; now listen." if channel else "Now listen.", err=True)
        for stream in streams:
            stream.start()
        result = pair(role, Audio(*streams), channel, network, stopping=stopping, on_exposed=known.expect_failure)
        conversation = Conversation(channel, result, stopping=stopping) if channel else None
        name, peer = known.remember(conversation.introduce(role, identity)) if conversation else (None, None)
        known.succeeded()
        talk(Paired(result, name, peer), conversation)
    finally:
        for stream in streams:
            stream.stop()


def _streams(config: "Config", in_file: Path | None, out_file: Path | None, stopping: threading.Event) -> tuple[Any, Any]:
    """Microphone and loudspeaker, or the files that stand for them."""
    from rtmelody.io.audio import Loudspeaker, Microphone
    from rtmelody.io.files import protect
    from rtmelody.io.recordings import RecordedLoudspeaker, RecordedMicrophone

    protect([in_file] if in_file else [], [out_file] if out_file else [])
    if in_file and out_file and not (in_file.exists() and in_file.stat().st_size):
        return _new_files(config, in_file, out_file, stopping)
    microphone = RecordedMicrophone(in_file, CALL_PATIENCE_S, stopping) if in_file else Microphone(config.audio)
    rate = microphone.sample_rate
    return microphone, RecordedLoudspeaker(out_file, rate) if out_file else Loudspeaker(config.audio, rate)


def _new_files(config: "Config", in_file: Path, out_file: Path, stopping: threading.Event) -> tuple[Any, Any]:
    """Files of which neither is there: ours is begun first, for the peer may wait for it.

    Raises AudioFileError if the peer's has another rate.
    """
    from rtmelody.io.recordings import RecordedLoudspeaker, RecordedMicrophone

    rate = config.audio.sample_rate or DEMO_RATE
    loudspeaker = RecordedLoudspeaker(out_file, rate)
    microphone = RecordedMicrophone(in_file, CALL_PATIENCE_S, stopping)
    if microphone.sample_rate != rate:
        loudspeaker.stop()
        raise AudioFileError(f"{in_file} has {microphone.sample_rate:.0f} Hz, and what is played {rate}: give --rate.")
    return microphone, loudspeaker


def require_cryptography() -> None:
    """Say what is missing before anything imports it.

    Raises PairingError.
    """
    if not all(find_spec(package) for package in ("cryptography", "reedsolo")):
        raise PairingError("Pairing needs the packages cryptography and reedsolo: run `pip install 'rtmelody[pair]'`.")
