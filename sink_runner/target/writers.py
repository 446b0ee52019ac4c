"""Choose and make what writes a mapping's rows."""

from __future__ import annotations

from ..parts import Parts
from ..plugin import Strategy, SyncTime, TableMapping, source_wins
from .candidates import CandidateWriter, candidate_table
from .catalog import TableCatalog
from .folding import Fold, fold_of
from .resolve import PluginWriter, Resolver, RowWriter
from .statements import Statements
from .versions import VersionedWriter
from .writer import Writer


def make_writer(name: str, mapping: TableMapping, parts: Parts, target: TableCatalog) -> RowWriter:
    """The writer of a mapping: plain or by candidates, and what its plugins add to it."""
    candidates, chain = mapping.candidates, parts.chain
    timed = [column for column in mapping.columns if isinstance(column.source, SyncTime)]
    statements = Statements(
        mapping=name,
        target=candidate_table(name) if candidates else target.sql_name,
        columns=parts.columns,
        key=candidates.key if candidates else mapping.key,
        conflict=source_wins() if chain.resolvers else mapping.conflict,
        unstaged=[] if candidates else timed,  # candidates have no such column, the target has
        positioned=candidates is not None,
    )
    writer = (VersionedWriter if _races(mapping) else Writer)(
        mapping,
        statements,
        _fold(mapping, parts),
        source_system=mapping.source_table.database.removeprefix("smart_"),
        resolver=Resolver(statements, chain) if chain.resolvers else None,
    )
    rows: RowWriter = writer
    if candidates:
        rows = CandidateWriter(mapping, statements, target, writer)
    if chain.writers:
        rows = PluginWriter(chain, [column.name for column in parts.columns], rows)
    return rows


def _races(mapping: TableMapping) -> bool:
    """May a batch race with events, and nothing in the target tell which row is newer?"""
    wins = mapping.conflict.strategy is Strategy.SOURCE_WINS
    return wins and mapping.events and mapping.candidates is None


def _fold(mapping: TableMapping, parts: Parts) -> Fold | None:
    if parts.chain.resolvers:
        return None  # the plugin is asked about each row
    return fold_of(mapping.conflict, parts.columns)
