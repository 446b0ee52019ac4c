"""``sink-runner config``: the reference of `sink-runner.toml`, with what it holds now."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..config import Config, ConfigFile
from ..config.reader import Reader, SettingError, to_toml, type_name
from ..config.reference import Key, keys
from .command import OK, Subparsers, add_command, read_config

TEACHING = """\
A value may also be written { env = "NAME", default = ... }, { file = "path" } or
{ command = ["program", "argument"] }, whose output it is (no shell, 10 s at most).  Where a
secret comes from is printed, and its value is not.  The exit code is 78 if any value is
missing or wrong.

example:
  sink-runner config
  sink-runner config --json
  SINK_KAFKA=127.0.0.1:9092 sink-runner config
"""
HIDDEN = "***"
_LOGIN = re.compile(r"//[^\s,]*@")
"""User and password of a URL, which may stand where they are refused."""


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "config",
        summary="print every key of the configuration: type, default, meaning, present value",
        teaching=TEACHING,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=config)


def config(args: argparse.Namespace) -> int:
    file = read_config(args)
    if args.json:
        print(json.dumps([_record(key, file) for key in keys(Config)], indent=2))
    else:
        for line in reference(file):
            print(line)
    file.config()  # raises what is wrong with it
    return OK


def reference(file: ConfigFile) -> Iterator[str]:
    yield f"# {file.path}"
    for key in keys(Config):
        yield ""
        yield from describe(key)
        for path, raw in present(key, file.table):
            value, source = _value(key, raw, path, file.reader)
            yield f"    {path} = {value}" + (f"  # {source}" if source else "")


def _record(key: Key, file: ConfigFile) -> dict[str, Any]:
    values = [
        (path, *_value(key, raw, path, file.reader)) for path, raw in present(key, file.table)
    ]
    return {
        "key": key.path,
        "type": type_name(key.kind),
        "required": key.required,
        "default": None if key.required else to_toml(key.default),
        "meaning": key.doc,
        "values": [
            {"key": path, "value": value, "source": source or None}
            for path, value, source in values
        ],
    }


def describe(key: Key) -> Iterator[str]:
    """Yield the key's name, type and default, and what it means."""
    default = "required" if key.required else f"default {to_toml(key.default)}"
    yield f"{key.path}  ({type_name(key.kind)}, {default})"
    if key.doc:
        yield f"    # {key.doc}"


def present(key: Key, table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the places where the table sets the key: several, where a name may be chosen."""
    places: list[tuple[str, Any]] = [("", table)]
    for part in key.path.split("."):
        inner = [(path, value) for path, value in places if isinstance(value, dict)]
        if part == "<name>":
            places = [(f"{path}.{name}", raw[name]) for path, raw in inner for name in raw]
        else:
            places = [
                (f"{path}.{part}".lstrip("."), raw[part]) for path, raw in inner if part in raw
            ]
    yield from places


def _value(key: Key, raw: Any, path: str, reader: Reader) -> tuple[str, str]:
    """Return the value as text, and where it comes from if not from the file itself."""
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
