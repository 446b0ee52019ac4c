"""Read a frozen dataclass from a TOML table: types checked, unknown settings refused.

The runner's settings and every plugin's are read here, so they follow one set of rules. All faults
are reported at once. No message quotes a value: it may be a secret. Why this is not pydantic:
docs/adr/0009-settings-by-hand.md.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import subprocess
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform, get_args, get_origin

from ..errors import ConfigError

T = TypeVar("T")

_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_NAMES: dict[Any, str] = {
    Any: "a value",
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    Path: "a path",
}
_TABLES = (dict, Mapping)
_LISTS = (tuple, list, frozenset, set)
_COMMAND_SECONDS = 10.0
_REFERENCES = (
    '{ env = "NAME", default = ... }, { file = "path" } or { command = ["program", "argument"] }'
)


@dataclass(frozen=True, slots=True)
class Minimum:
    """The smallest number allowed for a setting; part of its annotation."""

    number: float


Count = Annotated[int, Minimum(1)]
WholeNumber = Annotated[int, Minimum(0)]
Duration = Annotated[float, Minimum(0)]
"""A time in the unit that the setting's name ends with."""


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def section(cls: type[T]) -> type[T]:
    """Make a class a section of the configuration: a frozen dataclass.

    The docstring below a field is its description in the reference.
    """
    return dataclass(frozen=True, slots=True, kw_only=True)(cls)


def hint(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean ...?`` if a known name is close, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


class Secret:
    """A value that is read again for each use, so that a rotated file or command takes effect."""

    __slots__ = ("read",)

    def __init__(self, read: Callable[[], str]) -> None:
        """`read` raises SettingError where the value cannot be read."""
        self.read = read

    def __repr__(self) -> str:
        return "Secret(***)"


class SettingError(ConfigError):
    """The faults of a table, a line for each."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


@dataclass(frozen=True, slots=True)
class SettingsReader:
    """Reads tables, and the environment variables, files and commands that their values name."""

    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    folder: Path = Path()
    """Relative paths start here."""

    def read(self, cls: type[T], table: Mapping[str, Any], where: str = "") -> T:
        """Return a `cls` filled from `table`; `where` is the table's name, for messages."""
        keys = {key.name: key for key in dataclasses.fields(typing.cast("Any", cls)) if key.init}
        kinds = typing.get_type_hints(cls, include_extras=True)
        faults = [
            f"{join(where, name)} is unknown{hint(name, keys)}" for name in table.keys() - keys
        ]
        entries = []
        for name, key in keys.items():
            raw = table.get(name, _absent_value(key, kinds[name]))
            if raw is not MISSING:
                entries.append((name, kinds[name], raw))
            elif is_required(key):
                faults.append(f"{join(where, name)} is missing")
        values = self._read_all(entries, where, faults)
        try:
            return cls(**values)
        except ValueError as exc:  # a dataclass may check more in __post_init__
            raise SettingError(f"{where}: {exc}" if where else str(exc)) from None

    def _read_all(
        self, entries: Iterable[tuple[str, Any, Any]], where: str, faults: Iterable[str] = ()
    ) -> dict[str, Any]:
        """Return the value of each (name, type, raw value); raise their faults and `faults`."""
        values: dict[str, Any] = {}
        lines = [*faults]
        for name, kind, raw in entries:
            try:
                values[name] = self.value(kind, raw, join(where, name))
            except SettingError as fault:
                lines += fault.lines
        if lines:
            raise SettingError(*sorted(lines))
        return values

    def value(self, kind: Any, raw: Any, where: str) -> Any:
        """Return `raw` as a `kind`, or raise SettingError; an optional value may be None."""
        optional, kind = kind, without_none(kind)
        if kind is not optional and self._is_empty_variable(raw):
            return None
        if get_origin(kind) is Annotated:
            inner, minimum = get_args(kind)
            return _check_minimum(minimum, self.value(inner, raw, where), where)
        if is_secret(kind):
            # Read once now, so that a fault is reported at the start.
            is_set = bool(self.value(str, raw, where))
            secret = kind(lambda: str(self.value(str, raw, where)))
            return secret if is_set or kind is optional else None
        return self._convert(kind, raw, where)

    def _convert(self, kind: Any, raw: Any, where: str) -> Any:
        origin, parts = get_origin(kind), get_args(kind)
        if dataclasses.is_dataclass(kind) or origin in _TABLES:
            if not isinstance(raw, dict):
                raise SettingError(f"{where} must be a table")
            if origin in _TABLES:
                return self._read_all(((name, parts[1], each) for name, each in raw.items()), where)
            return self.read(typing.cast("type[Any]", kind), raw, where)
        if isinstance(raw, dict):
            return self._read_reference(kind, raw, where)
        if origin in _LISTS:
            if not isinstance(raw, list):
                raise _wrong_type(kind, raw, where)
            return origin(self.value(parts[0], each, f"{where}[{n}]") for n, each in enumerate(raw))
        return self._scalar(kind, raw, where)

    def _is_empty_variable(self, raw: Any) -> bool:
        """Whether the value is an empty environment variable: then an optional key is absent."""
        match raw:
            case {"env": str(name), **rest}:
                return self.environ.get(name, rest.get("default")) == ""
            case _:
                return False

    def _read_reference(self, kind: Any, raw: Mapping[str, Any], where: str) -> Any:
        """Return the value that a reference names."""
        match raw:
            case {"env": str(name), **rest} if rest.keys() <= {"default"}:
                if name in self.environ:
                    return self._parse(kind, self.environ[name], where)
                if "default" in rest:
                    return self.value(kind, rest["default"], where)
                raise SettingError(f"{where}: environment variable {name} is not set")
            case {"file": str(name), **rest} if not rest:
                try:
                    text = (self.folder / name).read_text().rstrip("\r\n")
                except (OSError, UnicodeDecodeError) as exc:
                    raise SettingError(f"{where}: {name}: {_reason(exc)}") from None
                return self._parse(kind, text, where)
            case {"command": [str(), *_] as argv, **rest} if not rest:
                return self._parse(kind, self._run_command(argv, where), where)
            case _:
                raise SettingError(f"{where} must be {type_name(kind)}, {_REFERENCES}")

    def _run_command(self, argv: Sequence[str], where: str) -> str:
        """Run a command without a shell; its arguments and output may contain secrets."""
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

    def _parse(self, kind: Any, text: str, where: str) -> Any:
        """Return a `kind` from text, which has no types of its own."""
        origin, parts = get_origin(kind), get_args(kind)
        if origin in _LISTS:
            texts = (part.strip() for part in text.split(","))
            return origin(self._parse(parts[0], part, where) for part in texts if part)
        if origin is Annotated:
            return _check_minimum(parts[1], self._parse(parts[0], text, where), where)
        try:
            if kind is bool:
                return _BOOLEANS[text.lower()]
            if kind in (int, float):
                return kind(text)
        except (KeyError, ValueError):
            raise SettingError(f"{where} must be {type_name(kind)}") from None
        return self._scalar(kind, text, where)

    def _scalar(self, kind: Any, raw: Any, where: str) -> Any:
        if choices := _choices(kind):
            if raw not in choices:
                suggestion = hint(raw, choices) if isinstance(raw, str) else ""
                raise SettingError(f"{where} must be {type_name(kind)}{suggestion}")
            return choices[raw]
        if kind is Path and isinstance(raw, str):
            return self.folder / raw
        if kind is float and type(raw) is int:
            return float(raw)
        if kind is Any or type(raw) is kind:
            return raw
        raise _wrong_type(kind, raw, where)


def join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def is_required(key: dataclasses.Field[Any]) -> bool:
    return key.default is MISSING and key.default_factory is MISSING


def is_secret(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Secret)


def without_none(kind: Any) -> Any:
    """Return X for ``X | None``: TOML has no null, and an absent key is None."""
    if get_origin(kind) in (types.UnionType, typing.Union):
        kinds = [part for part in get_args(kind) if part is not types.NoneType]
        return kinds[0] if len(kinds) == 1 else kind
    return kind


def type_name(kind: Any) -> str:
    """Return the name of a type in the terms of TOML."""
    kind = without_none(kind)
    if choices := _choices(kind):
        return " or ".join(to_toml(name) for name in choices)
    if get_origin(kind) is Annotated:
        return type_name(get_args(kind)[0])
    if get_origin(kind) in _LISTS:
        return f"a list, each {type_name(get_args(kind)[0])}"
    if get_origin(kind) in _TABLES:
        return f"a table, each {type_name(get_args(kind)[1])}"
    return _NAMES[str] if is_secret(kind) else _NAMES.get(kind, str(kind))


def to_toml(value: Any) -> str:
    """Return `value` the way TOML writes it."""
    match value:
        case None:
            return "(none)"
        case bool():
            return str(value).lower()
        case enum.Enum():
            return to_toml(value.value)
        case str() | Path():
            return f'"{value}"'
        case tuple() | list() | frozenset() | set():
            parts = sorted(value) if isinstance(value, (set, frozenset)) else value
            return f"[{', '.join(to_toml(part) for part in parts)}]"
        case _:
            return str(value)


def _absent_value(key: dataclasses.Field[Any], kind: Any) -> Any:
    """Return the raw value to read for an absent key; MISSING if its default needs no reading."""
    if dataclasses.is_dataclass(kind):
        return {}  # so that the error names each missing key of the table
    return str(key.default) if isinstance(key.default, Path) else MISSING


def _check_minimum(minimum: Minimum, number: float, where: str) -> float:
    if number < minimum.number:
        raise SettingError(f"{where} is less than {minimum.number}")
    return number


def _wrong_type(kind: Any, raw: Any, where: str) -> SettingError:
    return SettingError(f"{where} must be {type_name(kind)}, not {type(raw).__name__}")


def _choices(kind: Any) -> dict[Any, Any]:
    if get_origin(kind) is Literal:
        return {choice: choice for choice in get_args(kind)}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {member.value: member for member in kind}
    return {}


def _reason(exc: Exception) -> str:
    return (exc.strerror or "cannot be read") if isinstance(exc, OSError) else "is not text"
