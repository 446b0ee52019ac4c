"""Build the writer of a mapping."""

from __future__ import annotations

from ..errors import ConfigError
from ..model.changes import Fold
from ..plugin import Strategy, SyncTime, TableMapping, source_wins
from ..postgres.catalog import TableCatalog
from ..transform.compiled_mapping import CompiledMapping
from ..transform.key_identity import KeyIdentity
from .audit import Trail
from .candidates import CandidateWriter, candidate_table
from .coalesce import fold_of
from .conflict_detection import ContestedWriter
from .conflicts import ConflictLog
from .ownership_writer import OwnershipWriter, SharedKeyWriter
from .resolve import PluginWriter, Resolver, RowWriter
from .statements import Statements
from .uniqueness import UniqueConstraints
from .versions import VersionedWriter
from .writer import Writer


def make_writer(
    name: str,
    mapping: TableMapping,
    parts: CompiledMapping,
    target: TableCatalog,
    trail: Trail,
) -> RowWriter:
    """Return the writer of a mapping, with candidates and plugins if it has them."""
    candidates, chain = mapping.derived, parts.chain
    _check_contested(mapping, parts, target)
    timed = [column for column in mapping.columns if isinstance(column.source, SyncTime)]
    statements = Statements(
        mapping=name,
        target=candidate_table(name) if candidates else target.sql_name,
        columns=parts.columns,
        key=candidates.key if candidates else mapping.key,
        conflict=source_wins() if chain.resolvers else mapping.conflict,
        key_text=trail.key_text,
        target_types={name: column.pg for name, column in target.columns.items()},
        unstaged=[] if candidates else timed,  # only the target has these columns
        positioned=candidates is not None,
    )
    writer = _kind(mapping, parts.identity)(
        mapping,
        statements,
        _fold(mapping, parts),
        conflicts=ConflictLog(mapping, parts.unmasked, trail),
        resolver=Resolver(statements, chain) if chain.resolvers else None,
    )
    rows: RowWriter = writer
    if candidates:
        rows = CandidateWriter(mapping, statements, target, writer)
    if chain.writers:
        rows = PluginWriter(chain, [column.name for column in parts.columns], rows)
    rows.unique = UniqueConstraints(statements, target)
    return rows


def _check_contested(mapping: TableMapping, parts: CompiledMapping, target: TableCatalog) -> None:
    if mapping.conflict_detection is None:
        return
    if parts.chain.decides_writes:
        raise ConfigError(f"{mapping.target} is contested, so no plugin can decide what is written")
    named = mapping.conflict_detection.owner_time
    if named is not None and named not in target.columns:
        raise ConfigError(f"{mapping.target} has no column {named!r}, the owner's time")


def _kind(mapping: TableMapping, identity: KeyIdentity) -> type[Writer]:
    if mapping.conflict_detection:
        return ContestedWriter
    if identity is KeyIdentity.PASSED_ON:
        return OwnershipWriter
    if identity is KeyIdentity.SHARED:
        return SharedKeyWriter
    return VersionedWriter if _races(mapping) else Writer


def _races(mapping: TableMapping) -> bool:
    """Whether batch rows may overtake events, with no version that shows which is newer."""
    wins = mapping.conflict.strategy is Strategy.SOURCE_WINS
    return wins and mapping.streaming and mapping.derived is None


def _fold(mapping: TableMapping, parts: CompiledMapping) -> Fold | None:
    if parts.chain.resolvers:
        return None  # the plugin decides for each row
    if mapping.conflict_detection:
        return None  # each row is compared with the target's row
    return fold_of(mapping.conflict, parts.columns)
