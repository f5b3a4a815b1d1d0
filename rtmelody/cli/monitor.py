"""`rtmelody monitor`: the engine with a page to watch it."""

import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rtmelody.cli.options import (
    at_speed,
    channel_option,
    config_option,
    device_option,
    index_or_name,
    on_signal,
    overridden,
    speed_option,
)

if TYPE_CHECKING:
    from socket import socket

    from rtmelody.monitor.hub import Hub

LOCALHOST = "127.0.0.1"
CONNECTIONS = 200  # at a time; more are refused


@click.command()
@device_option
@channel_option
@speed_option
@click.option("--score", type=click.Path(path_type=Path, dir_okay=False), help="Follow this MIDI, MusicXML or ABC file.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --score: write the report here at the end.",
)
@click.option(
    "--records", type=click.Path(path_type=Path, file_okay=False), default=Path("takes"), help="Folder of recordings."
)
@click.option("--host", default=LOCALHOST, show_default=True, help="Address to serve at; 0.0.0.0 for tablets on the network.")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True)
@click.option("--origin", metavar="URL", help="Under which a proxy serves the page, as https://stage.example.")
@click.option("--no-midi", is_flag=True, help="Show notes without sending them.")
@config_option
def monitor(
    device: str | None,
    channel: int | None,
    speed: str | None,
    score: Path | None,
    report: Path | None,
    records: Path,
    host: str,
    port: int,
    origin: str | None,
    no_midi: bool,
    config_file: Path | None,
) -> None:
    """Listen, and show on a web page: piano roll, tuner, level, latency, faults, and keys.

    \b
    rtmelody monitor                           http://localhost:8765
    rtmelody monitor --host 0.0.0.0            also for a tablet beside the stage: scan the code
    rtmelody monitor --score tune.mid          shows what is expected, and how it was played

    From elsewhere the page asks for the token that is in the link shown here. The page can use its own device's microphone
    (localhost or https). POST a recording to /transcribe for its notes; see /openapi.json. Needs rtmelody[monitor].
    """  # noqa: D301 (click wants the character itself)
    from rtmelody.config import load_config
    from rtmelody.engine.engine import Engine
    from rtmelody.errors import MonitorError
    from rtmelody.io.files import check_place, protect
    from rtmelody.io.scores import read_score

    try:
        from rtmelody.monitor.hub import Hub
        from rtmelody.monitor.server import application
    except ImportError as error:
        raise MonitorError("The monitor needs more packages: run `pip install 'rtmelody[monitor]'`.") from error
    config = overridden(
        load_config(config_file),
        audio={"device": index_or_name(device), "channel": channel},
        tracker=at_speed(speed),
    )
    if report and not score:
        raise click.UsageError("--report needs --score: give what is to be played.")
    if report and score:
        check_place(report)
        protect([score], [report])
    if origin and not re.fullmatch(r"https?://[^/\s]+/?", origin):
        raise click.UsageError("--origin is the proxy's address: write it as https://stage.example.")
    origin = as_browsers_say(origin) if origin else None
    expected = read_score(score) if score else None
    token = None if host in (LOCALHOST, "localhost", "::1") and not origin else secrets.token_urlsafe(16)
    with _listening(host, port) as listening, Engine(config, midi=not no_midi, provisional=True) as engine:
        hub = Hub(engine, config, records, expected)
        _invite(origin or f"http://{_address(host)}:{listening.getsockname()[1]}", token)
        _serve(application(hub, config, token, origin), hub, listening)
    hub.drain()  # the note that the end has ended
    if report and (hub.heard() or not hub.failed):
        _write(report, hub)
    if hub.failed:
        raise hub.failed


def as_browsers_say(origin: str) -> str:
    """In small letters, and without a port that goes without saying."""
    origin = origin.rstrip("/").lower()
    return origin.removesuffix(":443" if origin.startswith("https:") else ":80")


def _listening(host: str, port: int) -> "socket":
    """A socket, opened before any device is.

    Raises MonitorError if the address is taken.
    """
    from socket import AF_INET, AF_INET6, create_server

    from rtmelody.errors import MonitorError

    try:
        family = AF_INET6 if ":" in host else AF_INET
        return create_server((host, port), family=family, backlog=128, dualstack_ipv6=host == "::")
    except OSError as error:
        raise MonitorError(f"Cannot serve at {host}:{port} ({error.strerror}): choose another --port.") from error


def _serve(app: Any, hub: "Hub", listening: "socket") -> None:
    """Until Ctrl-C or SIGTERM."""
    import uvicorn

    settings = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        limit_concurrency=CONNECTIONS,
        ws_max_size=1 << 16,
        timeout_graceful_shutdown=1,
        server_header=False,
    )
    server = _server(settings)
    hub.on_end = lambda: setattr(server, "should_exit", True)
    on_signal(hub.on_end)
    server.run([listening])


def _server(settings: Any) -> Any:
    """A server that leaves signals alone: uvicorn would raise them again when it has ended, before the engine is closed."""
    from contextlib import contextmanager

    import uvicorn

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Server(settings)


def _invite(origin: str, token: str | None) -> None:
    """The link, and a code of it for a tablet."""
    if token is None:
        click.echo(f"{origin}/", err=True)
        return
    import segno

    link = f"{origin}/?token={token}"
    if sys.stderr.isatty():
        segno.make(link).terminal(out=sys.stderr, compact=True)
    click.echo(link, err=True)


def _address(host: str) -> str:
    """Under which others find this machine."""
    import socket

    if host in (LOCALHOST, "::1"):
        return "localhost"
    if host not in ("0.0.0.0", "::"):  # noqa: S104 (the user asks for it)
        return f"[{host}]" if ":" in host else host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("10.255.255.255", 1))  # nothing is sent: this only asks which address would be used
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])


def _write(report: Path, hub: "Hub") -> None:
    from rtmelody.core.assessment import assess
    from rtmelody.io.files import write_whole
    from rtmelody.io.reports import content

    if hub.score:
        write_whole(report, content(report, "Performance", assess(hub.score, hub.heard())))
        click.echo(f"-> {report}", err=True)
