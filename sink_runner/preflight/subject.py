"""The subject of a check: a mapping with its two tables and a session in each database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ..config import Config
from ..config.dsn import Dsn
from ..kafka.capture import CaptureSettings, read_capture
from ..plugin import Delete, Ignore, SetColumns, Strategy, TableMapping
from ..postgres.catalog import TableCatalog, quoted
from ..postgres.session import Connection
from ..postgres.target_column import staged
from .publications import Publication, read_publications
from .table_facts import TableFacts


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A mapping whose tables exist."""

    name: str
    mapping: TableMapping
    config: Config
    source: TableFacts
    target: TableFacts
    source_catalog: TableCatalog
    target_catalog: TableCatalog
    reading: Connection
    """A session of the reader in the source's database."""
    writing: Connection
    """A session of the writer in the target's database."""
    open_session: Callable[[Dsn], Connection]
    """Open a session by its connection string, once for all checks."""
    known: frozenset[str] = frozenset()
    """Columns that the source once had."""
    beside: Mapping[str, TableMapping] = field(default_factory=dict)
    """The mappings that run with this one, by their names."""

    @cached_property
    def capture(self) -> CaptureSettings | None:
        """The configuration of Debezium; None where no setting names its properties."""
        directory = self.config.capture.directory
        return None if directory is None else read_capture(directory, self.source.table.database)

    @cached_property
    def publications(self) -> Sequence[Publication]:
        return read_publications(self.reading, self.source)

    @property
    def follows(self) -> bool:
        """Whether updates and deletes of the source matter, and not its new rows alone."""
        mapping = self.mapping
        kept = all(
            isinstance(action, Ignore | None)
            for action in (mapping.on_delete, mapping.on_remove, mapping.on_key_change)
        )
        return not (mapping.conflict.strategy is Strategy.INSERT_ONCE and kept)

    @cached_property
    def written(self) -> tuple[str, ...]:
        """The target's columns that the mapping fills; none for a derived target."""
        if self.mapping.derived is not None:
            return ()
        return tuple(column.name for column in self.mapping.columns)

    @cached_property
    def updated(self) -> tuple[str, ...]:
        """The target's columns that a later row of the same key overwrites."""
        mapping = self.mapping
        if mapping.conflict.strategy is Strategy.INSERT_ONCE or mapping.derived is not None:
            return ()
        timed = {column.name for column in mapping.columns} - {
            column.name for column in staged(mapping.columns)
        }
        own = {name for name in mapping.key if self._is_exact(name)}
        return tuple(
            column.name
            for column in mapping.columns
            if column.name not in own and (not column.insert_only or column.name in timed)
        )

    def _is_exact(self, name: str) -> bool:
        """Whether a key column is never written again, since equal keys are the same."""
        column = self.target_catalog.columns.get(name)
        return column is None or column.pg.is_exact

    @cached_property
    def compared(self) -> tuple[str, ...]:
        """The target's columns whose old values decide whether a row is written."""
        staged_names = {column.name for column in staged(self.mapping.columns)}
        return tuple(name for name in self.updated if name in staged_names)

    @cached_property
    def derived(self) -> tuple[str, ...]:
        """The columns that the derivation from candidates writes.

        Raises psycopg.Error where its query does not run.
        """
        candidates = self.mapping.derived
        assert candidates is not None
        columns = staged(self.mapping.columns)
        typed = [f"NULL::{column.type} AS {quoted(column.name)}" for column in columns]
        typed += ["NULL::bigint AS _position", "NULL::bigint AS _ordinal"]
        none = f"(SELECT {', '.join(typed)} WHERE false)"
        select = candidates.select.replace("{candidates}", none).replace(
            "{now}", "%(now)s::timestamp"
        )
        query = f"SELECT * FROM (\n{select}\n) derived LIMIT 0"
        found = self.writing.execute(query.encode(), {"now": None}).description or ()
        timed = [column.name for column in self.mapping.columns if column not in columns]
        return (*(column.name for column in found), *timed)

    @cached_property
    def marked(self) -> tuple[str, ...]:
        """The target's columns that a row's removal sets."""
        mapping = self.mapping
        actions = (mapping.on_delete, mapping.on_remove, mapping.on_key_change)
        names = [name for one in actions if isinstance(one, SetColumns) for name in one.values]
        return tuple(dict.fromkeys(names))

    @property
    def deletes(self) -> bool:
        """Whether the mapping is sure to delete rows of the target."""
        mapping = self.mapping
        if mapping.derived is not None:
            return True
        if mapping.streaming:
            return isinstance(mapping.on_delete, Delete)
        whole = any(schedule.full for schedule in mapping.schedules)
        replaced = mapping.query is not None and bool(mapping.query.replaces)
        return isinstance(mapping.on_remove, Delete) and (whole or replaced)
