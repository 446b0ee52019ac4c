"""Choose and make what writes a mapping's rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from .candidates import CandidateWriter, candidate_table
from .catalog import TableCatalog
from .changes import VersionOf
from .parts import Parts
from .plugin import SyncTime, TableMapping, source_wins
from .resolve import PluginWriter, Resolver, RowWriter
from .row import TargetColumn
from .statements import Statements
from .writer import Writer


def make_writer(name: str, mapping: TableMapping, parts: Parts, target: TableCatalog) -> RowWriter:
    """The writer of a mapping: plain or by candidates, and what its plugins add to it."""
    candidates, chain = mapping.candidates, parts.chain
    statements = Statements(
        mapping=name,
        target=candidate_table(name) if candidates else target.sql_name,
        columns=parts.columns,
        key=candidates.key if candidates else mapping.key,
        conflict=source_wins() if chain.resolvers else mapping.conflict,
        unstaged=[c for c in mapping.columns if isinstance(c.source, SyncTime)],
        positioned=candidates is not None,
    )
    writer = Writer(
        mapping,
        statements,
        _version_of(mapping, parts.columns),
        source_system=mapping.source_table.database.removeprefix("smart_"),
        resolver=Resolver(statements, chain) if chain.resolvers else None,
    )
    rows: RowWriter = writer
    if candidates:
        rows = CandidateWriter(mapping, statements, target, writer)
    if chain.writers:
        rows = PluginWriter(chain, [column.name for column in parts.columns], rows)
    return rows


def _version_of(mapping: TableMapping, columns: Sequence[TargetColumn]) -> VersionOf | None:
    """What to compare two staged rows of a batch by."""
    for at, column in enumerate(columns):
        if column.name == mapping.conflict.version:
            read = _moment if column.stage_type == "text" else _number
            return lambda values: read(values[at])
    return None


def _number(value: float | None) -> tuple[bool, float]:
    return (value is not None, value or 0)


def _moment(value: str | None) -> tuple[bool, datetime]:
    """NULL is oldest; what is no date of this calendar is infinity."""
    if value is None:
        return (False, datetime.min.replace(tzinfo=UTC))
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return (True, datetime.max.replace(tzinfo=UTC))
    return (True, moment if moment.tzinfo else moment.replace(tzinfo=UTC))
