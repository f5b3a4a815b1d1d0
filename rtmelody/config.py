"""The configuration: its schema is the one place of defaults. config.yaml repeats it with comments; a test holds them equal."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml
from msgspec import Meta

from rtmelody.errors import ConfigError

Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
Seconds = Annotated[float, Meta(ge=0.0, le=10.0)]
Decibel = Annotated[float, Meta(ge=-140.0, le=20.0)]
DeviceLatency = Annotated[float, Meta(gt=0.0, le=2.0)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all sections."""


class Audio(Section, frozen=True, kw_only=True):
    """Where the sound comes from."""

    device: str | int | None = None
    output_device: str | int | None = None
    sample_rate: Annotated[int, Meta(ge=8_000, le=192_000)] | None = None
    channel: Annotated[int, Meta(ge=1, le=256)] = 1
    block_size: Annotated[int, Meta(ge=0, le=16_384)] = 128
    latency: str | DeviceLatency = "low"
    ring_s: Annotated[float, Meta(ge=0.05, le=60.0)] = 1.0

    def __post_init__(self) -> None:
        """Refuse what the types let through."""
        if isinstance(self.latency, str) and self.latency not in ("low", "high"):
            raise ValueError("latency must be low, high or a number of seconds")


class Tuning(Section, frozen=True, kw_only=True):
    """How the instruments are tuned."""

    a4_hz: Annotated[float, Meta(ge=390.0, le=466.0)] = 440.0


class Tracker(Section, frozen=True, kw_only=True):
    """Thresholds of the debouncing state machine."""

    on_probability: Probability = 0.6
    off_probability: Probability = 0.2
    evidence_s: Seconds = 0.010
    strike: Probability = 0.35
    refractory_s: Seconds = 0.07
    minimum_s: Seconds = 0.03
    release_s: Seconds = 0.04
    lag_s: Seconds = 0.025
    gate_db: Decibel = -75.0
    velocity_floor_db: Decibel = -50.0
    velocity_ceiling_db: Decibel = -6.0

    def __post_init__(self) -> None:
        """Refuse combinations that cannot work."""
        if self.off_probability > self.on_probability:
            raise ValueError("off_probability must not exceed on_probability, or a note would end as soon as it begins")
        if self.velocity_floor_db >= self.velocity_ceiling_db:
            raise ValueError("velocity_floor_db must lie below velocity_ceiling_db")


class Midi(Section, frozen=True, kw_only=True):
    """Where the notes go."""

    port: Annotated[str, Meta(min_length=1, max_length=64)] = "rtmelody"
    channel: Annotated[int, Meta(ge=1, le=16)] = 1
    transpose: Annotated[int, Meta(ge=-48, le=48)] = 0


class Config(Section, frozen=True, kw_only=True):
    """Everything that a user can set."""

    model: str = "melody"
    audio: Audio = Audio()
    tuning: Tuning = Tuning()
    tracker: Tracker = Tracker()
    midi: Midi = Midi()


def load_config(path: Path | None) -> Config:
    """The configuration of a YAML file; the defaults without one.

    Raises ConfigError, naming the file and the key, for anything that is not in the schema.
    """
    if path is None:
        return Config()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read the configuration {path}: {error.strerror}.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid YAML: {_first_line(error)}.") from error
    try:
        return msgspec.convert({} if content is None else content, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_first_line(error)}; `rtmelody config` shows every key with its default.") from error


def to_yaml(config: Config) -> str:
    """The configuration as YAML, which `load_config` reads back."""
    return yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)


def to_dict(config: Config) -> dict[str, Any]:
    """The configuration as plain dictionaries."""
    return msgspec.to_builtins(config)  # type: ignore[no-any-return]


def _first_line(error: Exception) -> str:
    """A library's message without its line breaks."""
    return " ".join(str(error).split())
