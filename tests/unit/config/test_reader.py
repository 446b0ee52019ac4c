"""Values that the reader takes from the environment, from files and from commands."""

import sys
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest

from sink_runner.config import Config
from sink_runner.config import reader as settings
from sink_runner.config.reader import Count, Secret, SettingsReader, to_toml
from sink_runner.config.reference import keys
from sink_runner.config.tls import Tls
from sink_runner.errors import ConfigError

SECRET = "s3cret-value"


# -- environment -------------------------------------------------------------------------------


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


@dataclass(frozen=True)
class AllTypes:
    whole: int = 0
    number: float = 0.0
    flag: bool = False
    folder: Path = Path("default")
    either: Literal["a", "b"] = "a"
    size: Size = Size.SMALL
    several: tuple[int, ...] = ()
    bag: frozenset[str] = frozenset()
    named: dict[str, int] = field(default_factory=dict)
    maybe: int | None = None


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("whole", "7", 7),
        ("number", "1.5", 1.5),
        ("flag", "TRUE", True),
        ("flag", "no", False),
        ("folder", "x", Path("/base/x")),
        ("folder", "/x", Path("/x")),
        ("either", "b", "b"),
        ("size", "large", Size.LARGE),
        ("several", "1, 2,", (1, 2)),
        ("bag", "a,b", frozenset("ab")),
        ("maybe", "3", 3),
    ],
)
def test_text_is_converted_to_type_of_setting(key, text, value):
    reader = SettingsReader({"NAME": text}, Path("/base"))
    assert getattr(reader.read(AllTypes, {key: {"env": "NAME"}}), key) == value


@pytest.mark.parametrize(
    ("key", "text"), [("whole", "x"), ("number", ""), ("flag", "maybe"), ("several", "1,x")]
)
def test_text_of_another_type_is_error(key, text):
    with pytest.raises(ConfigError, match=rf"^{key} must be"):
        SettingsReader({"NAME": text}).read(AllTypes, {key: {"env": "NAME"}})


def test_default_must_have_type_of_setting():
    table: dict[str, Any] = {"whole": {"env": "NAME", "default": 5}}
    assert SettingsReader().read(AllTypes, table).whole == 5
    table["whole"]["default"] = "5"
    with pytest.raises(ConfigError, match="whole must be an integer, not str"):
        SettingsReader().read(AllTypes, table)


def test_values_of_named_tables_are_checked():
    assert SettingsReader().read(AllTypes, {"named": {"a": 1}}).named == {"a": 1}
    with pytest.raises(ConfigError, match=r"named\.a must be an integer"):
        SettingsReader().read(AllTypes, {"named": {"a": "x"}})


def test_default_path_is_relative_to_file():
    assert SettingsReader(folder=Path("/base")).read(AllTypes, {}).folder == Path("/base/default")


def test_empty_variable_omits_optional_setting() -> None:
    reader = SettingsReader({"EMPTY": ""})
    for raw in ({"env": "EMPTY"}, {"env": "NONE", "default": ""}):
        assert reader.read(Tls, {"ca_file": raw, "key_password": raw}) == Tls()


# -- reference of the settings -----------------------------------------------------------------


def test_every_setting_is_documented():
    assert [key.path for key in keys(Config) if not key.doc.endswith(".")] == []


def test_reference_has_types_defaults_and_secrets():
    settings_by_path = {key.path: key for key in keys(Config)}
    assert settings_by_path["databases.<name>.dsn"].secret
    assert settings_by_path["databases.<name>.dsn"].required
    assert settings_by_path["batch.max_rows"].default == 5000
    assert to_toml(settings_by_path["plugins.enabled"].default) == '["*"]'


@dataclass(frozen=True)
class Documented:
    limit: Count = 5
    """How many
    at most."""
    plain: int = field(default=1, metadata={"doc": "From metadata."})
    bare: int = 2


@dataclass(frozen=True)
class Inherited(Documented):
    own: str = ""
    """Its own."""


def test_description_is_docstring_below_field():
    assert {key.path: key.doc for key in keys(Inherited, "x")} == {
        "x.limit": "How many at most.",
        "x.plain": "From metadata.",
        "x.bare": "",
        "x.own": "Its own.",
    }


def test_minimum_applies_to_values_of_environment():
    table = {"limit": {"env": "NAME"}}
    assert SettingsReader({"NAME": "1"}).read(Documented, table).limit == 1
    with pytest.raises(ConfigError, match=r"^limit is less than 1$"):
        SettingsReader({"NAME": "0"}).read(Documented, table)


# -- values of commands ------------------------------------------------------------------------


def test_output_of_command_is_a_value(tmp_path: Path) -> None:
    reader = SettingsReader({"NAME": "7"}, tmp_path)
    argv = [sys.executable, "-c", "import os; print(os.environ['NAME'])"]
    assert reader.read(AllTypes, {"whole": {"command": argv}}).whole == 7


@pytest.mark.parametrize(
    ("code", "seconds", "message"),
    [
        (f"print('{SECRET}'); raise SystemExit(3)", 30, "exited with code 3"),
        (f"print('{SECRET}', flush=True); import time; time.sleep(60)", 0.5, "did not end within"),
        ("import os; os.write(1, b'\\xff')", 30, "must be text"),
    ],
)
def test_error_of_command_contains_no_output(monkeypatch, code, seconds, message):
    monkeypatch.setattr(settings, "_COMMAND_SECONDS", seconds)
    with pytest.raises(ConfigError, match=rf"^whole: command .* {message}") as caught:
        SettingsReader().read(AllTypes, {"whole": {"command": [sys.executable, "-c", code]}})
    assert SECRET not in str(caught.value)


def test_error_of_missing_command_names_setting(tmp_path):
    with pytest.raises(ConfigError, match=r"^whole: command 'none-such': No such file"):
        SettingsReader({}, tmp_path).read(AllTypes, {"whole": {"command": ["none-such", SECRET]}})


@dataclass(frozen=True)
class WithSecret:
    password: Secret | None = None


def test_secret_is_read_again_each_time(tmp_path):
    (tmp_path / "password").write_text("first\n")
    section = SettingsReader({}, tmp_path).read(WithSecret, {"password": {"file": "password"}})
    assert section.password is not None
    assert section.password.read() == "first"
    (tmp_path / "password").write_text("second\n")
    assert section.password.read() == "second"
    assert "second" not in repr(section)


def test_empty_secret_counts_as_absent():
    table = {"password": {"env": "NAME", "default": ""}}
    assert SettingsReader().read(WithSecret, table).password is None
