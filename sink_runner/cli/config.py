"""``sink-runner config``: the reference of ``sink-runner.toml``, with the current values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import click

from ..config import Config, ConfigFile
from ..config.reader import SettingError, SettingsReader, to_toml, type_name
from ..config.reference import Key, keys
from .arguments import json_option
from .command import OK, Command
from .configuration import read_config

HIDDEN = "***"
_LOGIN = re.compile(r"//[^\s,]*@")
"""User and password of a URL, which a setting may contain although they are refused."""


@click.command(cls=Command)
@json_option
def config(*, as_json: bool) -> int:
    """Print each setting: type, default, meaning, present value.

    A value may also be written as one of these:

      { env = "NAME", default = ... }        a variable of the environment
      { file = "path" }                      the content of a file
      { command = ["program", "argument"] }  its output; no shell, 10 s at most

    The source of a secret is printed, its value is not. The exit code is 78 if a value is missing
    or wrong.

    examples:
      sink-runner config
      sink-runner config --json
      SINK_KAFKA=127.0.0.1:9092 sink-runner config
    """
    file = read_config()
    if as_json:
        print(json.dumps([_record(key, file) for key in keys(Config)], indent=2))
    else:
        for line in _reference(file):
            print(line)
    file.config()  # raises ConfigError for what is wrong
    return OK


def describe(key: Key) -> Iterator[str]:
    """Yield the key's name, type and default, and what it means."""
    default = "required" if key.required else f"default {to_toml(key.default)}"
    yield f"{key.path}  ({type_name(key.kind)}, {default})"
    if key.doc:
        yield f"    # {key.doc}"


def _reference(file: ConfigFile) -> Iterator[str]:
    yield f"# {file.path}"
    for key in keys(Config):
        yield ""
        yield from describe(key)
        for path, value, source in _values(key, file):
            yield f"    {path} = {value}" + (f"  # {source}" if source else "")


def _record(key: Key, file: ConfigFile) -> dict[str, Any]:
    return {
        "key": key.path,
        "type": type_name(key.kind),
        "required": key.required,
        "default": None if key.required else to_toml(key.default),
        "meaning": key.doc,
        "values": [
            {"key": path, "value": value, "source": source or None}
            for path, value, source in _values(key, file)
        ],
    }


def _values(key: Key, file: ConfigFile) -> Iterator[tuple[str, str, str]]:
    """Yield where the file sets the key, the value, and its source if that is not the file."""
    for path, raw in _present(key, file.table):
        yield (path, *_value(key, raw, path, file.reader))


def _present(key: Key, table: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the places that set the key: several, if a part of its path is any name."""
    places: list[tuple[str, Any]] = [("", table)]
    for part in key.path.split("."):
        inner = [(path, value) for path, value in places if isinstance(value, dict)]
        if part == "<name>":
            places = [(f"{path}.{name}", raw[name]) for path, raw in inner for name in raw]
        else:
            places = [
                (f"{path}.{part}".lstrip("."), raw[part]) for path, raw in inner if part in raw
            ]
    return places


def _value(key: Key, raw: Any, path: str, reader: SettingsReader) -> tuple[str, str]:
    source = ""
    if isinstance(raw, dict) and raw.keys() & {"env", "file", "command"}:
        source = "from " + " ".join(f"{how} {raw[how]}" for how in ("env", "file") if how in raw)
        # A command's arguments may hold a secret.
        source += f"command {raw['command'][:1]}" if "command" in raw else ""
    try:
        value = reader.value(key.kind, raw, path)
    except SettingError as fault:
        return f"(not usable: {fault})", ""
    return HIDDEN if key.secret else _LOGIN.sub(rf"//{HIDDEN}@", to_toml(value)), source
