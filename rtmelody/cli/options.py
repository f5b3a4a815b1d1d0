"""What several verbs share: options, and what is made of them."""

import math
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rtmelody.config import Config
    from rtmelody.core.network import Network
    from rtmelody.core.recognizer import Recognizer

DEFAULT = object()  # as an option: what is built in, whatever the file says
config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Settings in YAML; `rtmelody config` shows them all.",
)


device_option = click.option("-d", "--device", help="Input: an index, a name or a part of a name (see `rtmelody devices`).")
channel_option = click.option("--channel", type=int, help="Input channel, counted from 1.")
speed_option = click.option(
    "--speed", type=click.Choice(["fast", "balanced", "careful"]), help="How soon a note is named; default: balanced."
)


class Duration(click.ParamType):  # type: ignore[type-arg]
    """Seconds, or milliseconds with `ms`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        """Seconds."""
        text, unit = str(value).strip(), 1.0
        if text.endswith("ms"):
            text, unit = text.removesuffix("ms"), 1e-3
        try:
            return float(text.removesuffix("s")) * unit
        except ValueError:
            self.fail(f"{value!r} is no time: write 30ms or 0.03", param, context)


class DeviceLatency(Duration):
    """The same, or what the device calls low or high."""

    name = "latency"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        """A word or seconds."""
        return value if value in ("low", "high") else super().convert(value, param, context)


def at_speed(speed: str | None) -> dict[str, Any]:
    """Options of the tracker: a speed means what it says, whatever the file would have in its place."""
    return {"speed": speed, "evidence_s": DEFAULT, "sure_probability": DEFAULT} if speed else {}


def overridden(config: "Config", **sections: dict[str, Any]) -> "Config":
    """The configuration with the options that were given (not None), checked like a file; DEFAULT undoes what the file says."""
    import msgspec

    from rtmelody.config import Config, to_dict
    from rtmelody.errors import ConfigError

    content = to_dict(config)
    for name, given in sections.items():
        told = {key: value for key, value in given.items() if value is not None}
        content[name] |= {key: None if value is DEFAULT else value for key, value in told.items()}
    try:
        return msgspec.convert(content, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"An option does not fit: {error}.") from error


class Within(click.FloatRange):
    """A number within bounds; click's own type lets NaN through."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is no number.", param, ctx)
        return number


def index_or_name(device: str | None) -> int | str | None:
    """A device as the configuration names it."""
    return int(device) if device is not None and device.isdecimal() else device


def recognizer_for(rate: int, config: "Config", network: "Network | None" = None) -> "Recognizer":
    """A recognizer for a file.

    Raises AudioFileError where its sample rate lies outside 8 to 192 kHz.
    """
    from rtmelody.core.recognizer import Recognizer
    from rtmelody.errors import AudioFileError, ConfigError

    try:
        return Recognizer(rate, config, network)
    except ConfigError as error:
        raise AudioFileError(str(error)) from error


def until_signal() -> threading.Event:
    """An event that Ctrl-C, SIGTERM and a closed terminal set, so that every way out ends the notes; the second time kills."""
    stopping = threading.Event()
    on_signal(stopping.set)
    return stopping


def on_signal(act: Callable[[], None]) -> None:
    """Let the same signals act instead, once; a terminal that closes hangs up twice, and for `nohup` it does not count."""
    hangup = getattr(signal, "SIGHUP", None)

    def stop(number: int, _frame: Any) -> None:
        signal.signal(number, signal.SIG_IGN if number == hangup else signal.SIG_DFL)
        act()

    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number and not (number == hangup and signal.getsignal(number) is signal.SIG_IGN):
            signal.signal(number, stop)
