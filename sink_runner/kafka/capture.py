"""Read what Debezium captures from its properties."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from ..model.envelope import DEFAULT_PLACEHOLDER, PLACEHOLDER
from ..plugin import Table

_SOURCE = "debezium.source."


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureSettings:
    """The settings of one database's connector; None for a setting that no file has."""

    path: Path
    publication: str | None
    user: str | None
    included: Sequence[str] | None
    """Regular expressions of schema.table."""
    excluded: Sequence[str]
    excluded_columns: Sequence[str]
    """Regular expressions of schema.table.column."""
    placeholder: str | None
    """The placeholder of an unchanged TOASTed value; None if the schema of an event has it."""
    stated: str | None = None
    """The placeholder in the schema of an event."""
    slot: str | None = None

    def captures(self, table: Table) -> bool:
        """Whether the connector captures the table."""
        name = f"{table.schema}.{table.name}"
        if self.included is not None and not _matches(self.included, name):
            return False
        return not _matches(self.excluded, name)

    def leaves_out(self, table: Table, column: str) -> bool:
        return _matches(self.excluded_columns, f"{table.schema}.{table.name}.{column}")


def read_capture(directory: Path, database: str) -> CaptureSettings | None:
    """Return the settings of the connector whose topic prefix is the database's name.

    A file without a topic prefix has the settings that all connectors share.
    """
    files = {path: dict(_properties(path)) for path in sorted(directory.glob("*.properties"))}
    prefix = f"{_SOURCE}topic.prefix"
    shared: dict[str, str] = {}
    for found in files.values():
        if prefix not in found:
            shared |= found
    for path, found in files.items():
        if found.get(prefix) == database:
            return _capture(path, shared | found)
    return None


def _capture(path: Path, found: Mapping[str, str]) -> CaptureSettings:
    def listed(name: str) -> Sequence[str] | None:
        value = found.get(_SOURCE + name)
        return None if value is None else [part.strip() for part in value.split(",") if part]

    def plain(name: str) -> str | None:
        value = found.get(_SOURCE + name)
        return (
            None if value is None or "${" in value else value
        )  # the value is only in the connector's environment

    placeholder, is_stated = _placeholder(found)
    return CaptureSettings(
        path=path,
        publication=plain("publication.name"),
        user=plain("database.user"),
        included=listed("table.include.list"),
        excluded=listed("table.exclude.list") or (),
        excluded_columns=listed("column.exclude.list") or (),
        placeholder=None if is_stated else placeholder,
        stated=placeholder if is_stated else None,
        slot=plain("slot.name"),
    )


def _placeholder(found: Mapping[str, str]) -> tuple[str, bool]:
    """Return the setting, and whether the transform writes it into the schema of each event."""
    name = _SOURCE + PLACEHOLDER
    setting = found.get(name, DEFAULT_PLACEHOLDER)
    stated = [
        value
        for key, value in found.items()
        if key.startswith("debezium.transforms.") and key.endswith(f".{PLACEHOLDER}")
    ]
    return setting, stated in ([setting], [f"${{{name}}}"])


def _properties(path: Path) -> Iterator[tuple[str, str]]:
    text = re.sub(r"\\\r?\n\s*", "", path.read_text(encoding="utf-8"))
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.lstrip().startswith(("#", "!")):
            yield name.strip(), value.strip()


def _matches(patterns: Sequence[str], name: str) -> bool:
    """Return whether a pattern matches the whole name, as Debezium compares them."""
    try:
        return any(re.fullmatch(one, name, re.IGNORECASE) for one in patterns)
    except re.error as fault:
        raise ConfigError(
            f"Debezium's properties have a list that is not of regular expressions: {fault}"
        ) from fault
