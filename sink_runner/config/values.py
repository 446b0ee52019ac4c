"""Read a dataclass from a TOML table: types checked, unknown keys refused, all faults at once.

The runner's own configuration and every plugin's are read here, so they follow one set of
rules.  No message quotes a value: it may be a secret.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import subprocess
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from ..errors import ConfigError

T = TypeVar("T")

_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_NAMES: dict[Any, str] = {
    Any: "a value",
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    Path: "a path",
}
_DICTS = (dict, Mapping)
_COMMAND_SECONDS = 10.0
_LISTS = (tuple, list, frozenset, set)


def doc(text: str, *, minimum: float | None = None) -> dict[str, Any]:
    """Field metadata: what the key means, and the least number it may hold."""
    return {"doc": text, "minimum": minimum}


def hint(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean ...?`` if a known name is close, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


class Secret:
    """A value that is read again each time, so that a rotated file or command is picked up."""

    __slots__ = ("read",)

    def __init__(self, read: Callable[[], str]) -> None:
        """`read` raises SettingError where the value cannot be had."""
        self.read = read

    def __repr__(self) -> str:
        return "Secret(***)"


class SettingError(ConfigError):
    """What is wrong with a table, a line for each fault."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads tables; knows where the values live that are not in the file itself."""

    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    folder: Path = Path()
    """Relative paths start here."""

    def read(self, cls: type[T], table: Mapping[str, Any], where: str = "") -> T:
        """Return a `cls` filled from `table`; `where` is the table's name, for the messages."""
        return typing.cast("T", self._fill(cls, table, where))

    def value(self, kind: Any, raw: Any, where: str) -> Any:
        """Return `raw` as a `kind`, or raise `SettingError`; an optional secret may be None."""
        optional, kind = kind, _required(kind)
        if kind is not optional and self._is_empty(raw):
            return None
        if _is_secret(kind):
            # A fault is reported now, and not when the value is first needed.
            is_set = bool(self.value(str, raw, where))
            secret = kind(lambda: str(self.value(str, raw, where)))
            return secret if is_set or kind is optional else None
        if dataclasses.is_dataclass(kind):
            return self._fill(kind, _table(raw, where), where)
        if get_origin(kind) in _DICTS:
            return self._named(get_args(kind)[1], _table(raw, where), where)
        if isinstance(raw, dict):
            return self._fetch(kind, raw, where)
        read = self._list if get_origin(kind) in _LISTS else self._scalar
        return read(kind, raw, where)

    def _fill(self, cls: Any, table: Mapping[str, Any], where: str) -> Any:
        keys = {key.name: key for key in dataclasses.fields(cls) if key.init}
        lines = [
            f"{_join(where, name)} is unknown{hint(name, keys)}" for name in table.keys() - keys
        ]
        kinds, values = typing.get_type_hints(cls), {}
        for name, key in keys.items():
            path, kind = _join(where, name), kinds[name]
            # An absent table is read as an empty one, so that what it lacks is named key by key.
            raw = table.get(name, {} if dataclasses.is_dataclass(kind) else MISSING)
            try:
                if raw is not MISSING:
                    values[name] = self._checked(key, kind, raw, path)
                elif _is_missing(key):
                    lines.append(f"{path} is missing")
                elif isinstance(key.default, Path):
                    values[name] = self.folder / key.default
            except SettingError as fault:
                lines += fault.lines
        if lines:
            raise SettingError(*sorted(lines))
        try:
            return cls(**values)
        except ValueError as exc:  # a dataclass may check more in __post_init__
            raise SettingError(f"{where}: {exc}" if where else str(exc)) from None

    def _checked(self, key: Field[Any], kind: Any, raw: Any, where: str) -> Any:
        value = self.value(kind, raw, where)
        minimum = key.metadata.get("minimum")
        for number in value if isinstance(value, tuple) else (value,):
            if None not in (minimum, number) and number < minimum:
                raise SettingError(f"{where} is less than {minimum}")
        return value

    def _named(self, kind: Any, table: Mapping[str, Any], where: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        lines: list[str] = []
        for name, raw in table.items():
            try:
                values[name] = self.value(kind, raw, _join(where, name))
            except SettingError as fault:
                lines += fault.lines
        if lines:
            raise SettingError(*lines)
        return values

    def _is_empty(self, raw: Any) -> bool:
        """Whether an environment variable or its default is empty: an optional key is absent."""
        match raw:
            case {"env": str(name), **rest}:
                return self.environ.get(name, rest.get("default")) == ""
            case _:
                return False

    def _fetch(self, kind: Any, raw: Mapping[str, Any], where: str) -> Any:
        match raw:
            case {"env": str(name), **rest} if rest.keys() <= {"default"}:
                if name in self.environ:
                    return self._from_text(kind, self.environ[name], where)
                if "default" in rest:
                    return self.value(kind, rest["default"], where)
                raise SettingError(f"{where}: environment variable {name} is not set")
            case {"file": str(name), **rest} if not rest:
                try:
                    text = (self.folder / name).read_text().rstrip("\r\n")
                except (OSError, UnicodeDecodeError) as exc:
                    raise SettingError(f"{where}: {name}: {_reason(exc)}") from None
                return self._from_text(kind, text, where)
            case {"command": [str(), *_] as argv, **rest} if not rest:
                return self._from_text(kind, self._output(argv, where), where)
            case _:
                form = '{ env = "NAME", default = ... }, { file = "path" }'
                form += ' or { command = ["program", "argument"] }'
                raise SettingError(f"{where} must be {type_name(kind)}, {form}")

    def _output(self, argv: Sequence[str], where: str) -> str:
        """Run a command without a shell; its arguments and output may hold secrets."""
        program = f"{where}: command {argv[0]!r}"
        try:
            done = subprocess.run(  # noqa: S603 - the configuration names it
                argv,
                cwd=self.folder,
                env=dict(self.environ) or None,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SettingError(f"{program} did not end within {_COMMAND_SECONDS:g} s") from None
        except OSError as exc:
            raise SettingError(f"{program}: {_reason(exc)}") from None
        except (UnicodeDecodeError, TypeError, ValueError):
            raise SettingError(f"{program} and its output must be text") from None
        if done.returncode:
            raise SettingError(f"{program} exited with code {done.returncode}")
        return done.stdout.rstrip("\r\n")

    def _from_text(self, kind: Any, text: str, where: str) -> Any:
        if get_origin(kind) in _LISTS:
            parts = [part.strip() for part in text.split(",") if part.strip()]
            item = get_args(kind)[0]
            return get_origin(kind)(self._from_text(item, part, where) for part in parts)
        try:
            if kind is bool:
                return _TRUTH[text.lower()]
            if kind in (int, float):
                return kind(text)
        except (KeyError, ValueError):
            raise SettingError(f"{where} must be {type_name(kind)}") from None
        return self._scalar(kind, text, where)

    def _list(self, kind: Any, raw: Any, where: str) -> Any:
        if not isinstance(raw, list):
            raise SettingError(f"{where} must be {type_name(kind)}, not {type(raw).__name__}")
        item = get_args(kind)[0]
        values = [self.value(item, part, f"{where}[{at}]") for at, part in enumerate(raw)]
        return get_origin(kind)(values)

    def _scalar(self, kind: Any, raw: Any, where: str) -> Any:
        if choices := _choices(kind):
            if raw not in choices:
                near = hint(raw, choices) if isinstance(raw, str) else ""
                raise SettingError(f"{where} must be {type_name(kind)}{near}")
            return choices[raw]
        if kind is Path and isinstance(raw, str):
            return self.folder / raw
        if kind is float and type(raw) is int:
            return float(raw)
        if kind is Any or type(raw) is kind:
            return raw
        raise SettingError(f"{where} must be {type_name(kind)}, not {type(raw).__name__}")


# -- the reference -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key that a dataclass may be read from, as the reference shows it."""

    path: str
    """``<name>`` stands for a name that the file chooses."""
    kind: Any
    doc: str
    required: bool
    default: Any
    secret: bool


def keys(cls: type[Any], where: str = "") -> list[Key]:
    """Return every key of `cls`, in the order of the fields, those of inner tables in place."""
    found: list[Key] = []
    hints = typing.get_type_hints(cls)
    for key in dataclasses.fields(cls):
        path, kind = _join(where, key.name), _required(hints[key.name])
        if get_origin(kind) in _DICTS and dataclasses.is_dataclass(get_args(kind)[1]):
            found += keys(get_args(kind)[1], f"{path}.<name>")
        elif dataclasses.is_dataclass(kind):
            found += keys(typing.cast("type[Any]", kind), path)
        elif key.init:
            found.append(_key(key, path, hints[key.name]))
    return found


def _key(key: Field[Any], path: str, kind: Any) -> Key:
    default = key.default if key.default_factory is MISSING else key.default_factory()
    return Key(
        path=path,
        kind=kind,
        doc=key.metadata.get("doc", ""),
        required=_is_missing(key),
        default=None if default is MISSING else default,
        secret=not key.repr,
    )


def type_name(kind: Any) -> str:
    """Name the type as a person who writes TOML would."""
    kind = _required(kind)
    if choices := _choices(kind):
        return " or ".join(shown(name) for name in choices)
    if get_origin(kind) in _LISTS:
        return f"a list, each {type_name(get_args(kind)[0])}"
    if get_origin(kind) in _DICTS:
        return f"a table, each {type_name(get_args(kind)[1])}"
    return _NAMES[str] if _is_secret(kind) else _NAMES.get(kind, str(kind))


def shown(value: Any) -> str:
    """Return `value` the way TOML writes it."""
    match value:
        case None:
            return "(none)"
        case bool():
            return str(value).lower()
        case enum.Enum():
            return shown(value.value)
        case str() | Path():
            return f'"{value}"'
        case tuple() | list() | frozenset() | set():
            parts = sorted(value) if isinstance(value, (set, frozenset)) else value
            return f"[{', '.join(shown(part) for part in parts)}]"
        case _:
            return str(value)


# -- small things ------------------------------------------------------------------------------


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _table(raw: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise SettingError(f"{where} must be a table")
    return raw


def _required(kind: Any) -> Any:
    """``X | None`` is read as X: TOML has no null, a key is there or not."""
    if get_origin(kind) in (types.UnionType, typing.Union):
        kinds = [part for part in get_args(kind) if part is not types.NoneType]
        return kinds[0] if len(kinds) == 1 else kind
    return kind


def _is_secret(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Secret)


def _choices(kind: Any) -> dict[Any, Any]:
    if get_origin(kind) is Literal:
        return {choice: choice for choice in get_args(kind)}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {member.value: member for member in kind}
    return {}


def _is_missing(key: Field[Any]) -> bool:
    return key.default is MISSING and key.default_factory is MISSING


def _reason(exc: Exception) -> str:
    return (exc.strerror or "cannot be read") if isinstance(exc, OSError) else "is not text"
