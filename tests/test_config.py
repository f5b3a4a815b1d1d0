"""One place of defaults; everything outside the schema is refused in one sentence."""

import pytest
from conftest import ROOT

from rtmelody.cli.options import at_speed, overridden
from rtmelody.config import Config, Tracker, load_config, to_yaml
from rtmelody.errors import ConfigError


def test_config_yaml_repeats_the_defaults():
    assert load_config(ROOT / "config.yaml") == Config()


def test_every_setting_is_explained_in_config_yaml():
    lines = (ROOT / "config.yaml").read_text().splitlines()
    assert all("#" in line for line in lines if ": " in line)


def test_round_trip(tmp_path):
    (tmp_path / "c.yaml").write_text(to_yaml(Config()))
    assert load_config(tmp_path / "c.yaml") == Config()


def test_empty_file_is_the_default(tmp_path):
    (tmp_path / "c.yaml").write_text("# nothing\n")
    assert load_config(tmp_path / "c.yaml") == Config()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("trackers: {}", "trackers"),
        ("tracker: {on_probability: high}", r"tracker\.on_probability"),
        ("tracker: {on_probability: 1.5}", r"tracker\.on_probability"),
        ("tracker: {on_probability: 0.1, off_probability: 0.3}", "must not exceed"),
        ("tracker: {velocity_floor_db: 0.0, velocity_ceiling_db: -10.0}", "velocity_floor_db"),
        ("audio: {sample_rate: 4000}", "sample_rate"),
        ("audio: {latency: medium}", "latency"),
        ("midi: {channel: 17}", "channel"),
        ("midi: {scale: H major}", "tonic and a mode"),
        ("midi: {scale: C loud}", "tonic and a mode"),
        ("midi: {lowest_pitch: 60, highest_pitch: 50}", "lowest_pitch"),
        ("midi: {fixed_latency_s: 0}", "fixed_latency_s"),
        ("midi: {osc: nonsense}", "HOST:PORT"),
        ("midi: {also_to: ['']}", "length >= 1"),
        ("audio: {device: ''}", "length >= 1"),
        ("audio: {device: 99999999999}", "int"),
        ("- a\n- b", "object"),
        ("tracker: [", "YAML"),
        ("\x00", "YAML"),
    ],
)
def test_refusals(tmp_path, content, message):
    (tmp_path / "c.yaml").write_text(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(tmp_path / "c.yaml")
    assert "\n" not in str(caught.value)
    assert "c.yaml" in str(caught.value)


def test_powershell_writes_it_in_utf_16(tmp_path):
    (tmp_path / "mine.yaml").write_text(to_yaml(Config(model="café")), encoding="utf-16")
    assert load_config(tmp_path / "mine.yaml").model == "café"


def test_a_speed_replaces_what_the_file_has_in_its_place():
    mine = Config(tracker=Tracker(evidence_s=0.02, sure_probability=0.9))
    assert overridden(mine, tracker=at_speed("fast")).tracker == Tracker(speed="fast")
    assert overridden(mine, tracker=at_speed(None)) == mine


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.yaml")
