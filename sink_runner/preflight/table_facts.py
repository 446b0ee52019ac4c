"""Read from the catalog what the checks need of a table: keys, replica identity, policies.

The queries use the table's oid, which any role may look up. So a table whose schema the role may
not use differs from one that does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..plugin import Table
from ..postgres.catalog import qualified
from ..postgres.session import Connection

_TABLE = """
SELECT c.oid::int8, c.relkind::text, c.relpersistence::text,
       c.relrowsecurity, row_security_active(c.oid), has_schema_privilege(n.oid, 'USAGE'),
       EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = c.oid),
       EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal
               AND g.tgtype & 7 = 7),
       ARRAY(SELECT r.rulename::text FROM pg_rewrite r WHERE r.ev_class = c.oid
             AND r.ev_type <> '1' AND r.ev_enabled <> 'D' ORDER BY 1)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_COLUMNS = """
SELECT a.attname::text, a.attnotnull OR t.typnotnull, a.attidentity::text, a.attgenerated::text,
       a.atthasdef OR t.typdefault IS NOT NULL
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
# The columns that an index includes (INCLUDE) are not part of its key.
_INDEXES = """
SELECT x.relname::text,
       ARRAY(SELECT a.attname::text FROM unnest(i.indkey) WITH ORDINALITY k (attnum, place)
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
             WHERE k.place <= i.indnkeyatts ORDER BY k.place),
       i.indisprimary, i.indisvalid AND i.indisready AND i.indislive, i.indimmediate,
       i.indpred IS NOT NULL, i.indexprs IS NOT NULL, i.indisreplident
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
WHERE i.indrelid = %s AND i.indisunique ORDER BY x.relname
"""
# Each partition has a replica identity of its own; that of the root applies to none of them.
_PARTS = """
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relreplident::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = %(table)s OR c.oid IN (SELECT relid FROM pg_partition_tree(%(table)s))
ORDER BY c.oid <> %(table)s, n.nspname, c.relname
"""

PARTITIONED, VIEW, MATERIALIZED_VIEW, FOREIGN_TABLE = "p", "v", "m", "f"
KINDS: Mapping[str, str] = {
    "r": "table",
    PARTITIONED: "partitioned table",
    VIEW: "view",
    MATERIALIZED_VIEW: "materialized view",
    FOREIGN_TABLE: "foreign table",
}


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """One column; `identity` and `generated` are the catalog's codes, "" for neither."""

    name: str
    not_null: bool
    identity: str
    generated: str
    has_default: bool

    @property
    def always_identity(self) -> bool:
        return self.identity == "a"


@dataclass(frozen=True, slots=True)
class UniqueIndex:
    """A unique index: `columns` are those of its key."""

    name: str
    columns: tuple[str, ...]
    primary: bool
    valid: bool
    immediate: bool
    partial: bool
    expressions: bool
    replica_identity: bool

    @property
    def arbitrates(self) -> bool:
        """Whether ON CONFLICT can use it for every row."""
        return self.valid and self.immediate and not (self.partial or self.expressions)


@dataclass(frozen=True, slots=True)
class ReplicaIdentity:
    """What the log has of the row before an update or delete, for one table or partition."""

    table: str
    """Quoted, with its schema."""
    setting: str
    """The catalog's code: d, i, f or n."""
    columns: frozenset[str] | None
    """None for all of them."""

    def lacks(self, names: Sequence[str]) -> list[str]:
        return [] if self.columns is None else sorted(set(names) - self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFacts:
    """A table at the time of the queries."""

    table: Table
    oid: int
    kind: str
    persistence: str
    row_security: bool
    row_security_active: bool
    """Its policies apply to the role of the session."""
    usable_schema: bool
    has_children: bool
    fills_rows: bool
    """It has a BEFORE INSERT trigger, which may give a column its value."""
    rules: Sequence[str]
    """Its rewrite rules, except for the one of a view."""
    columns: Mapping[str, ColumnFacts]
    indexes: Sequence[UniqueIndex]
    identities: Sequence[ReplicaIdentity]
    """Of the table, and of each of its partitions."""

    @property
    def is_table(self) -> bool:
        return self.kind in ("r", PARTITIONED)

    @property
    def sql_name(self) -> str:
        return qualified(self.table.schema, self.table.name)

    @property
    def primary_key(self) -> tuple[str, ...]:
        return next((index.columns for index in self.indexes if index.primary), ())

    @property
    def partitions(self) -> Sequence[ReplicaIdentity]:
        return self.identities[1:]


def read_facts(connection: Connection, table: Table) -> TableFacts | None:
    """Return the facts of a table; None if there is no such table."""
    found = connection.execute(_TABLE, (table.schema, table.name)).fetchone()
    if found is None:
        return None
    oid, kind, persistence, secured, active, usable, children, fills, rules = found
    columns = [ColumnFacts(*row) for row in connection.execute(_COLUMNS, (oid,)).fetchall()]
    return TableFacts(
        table=table,
        oid=oid,
        kind=kind,
        persistence=persistence,
        row_security=secured,
        row_security_active=active,
        usable_schema=usable,
        has_children=children,
        fills_rows=fills,
        rules=rules,
        columns={column.name: column for column in columns},
        indexes=_indexes(connection, oid),
        identities=_identities(connection, oid),
    )


def _indexes(connection: Connection, oid: int) -> list[UniqueIndex]:
    rows = connection.execute(_INDEXES, (oid,)).fetchall()
    return [UniqueIndex(name, tuple(columns), *rest) for name, columns, *rest in rows]


def _identities(connection: Connection, oid: int) -> list[ReplicaIdentity]:
    found = []
    for part, schema, name, setting in connection.execute(_PARTS, {"table": oid}).fetchall():
        columns = _carried(_indexes(connection, part), setting)
        found.append(ReplicaIdentity(qualified(schema, name), setting, columns))
    return found


def _carried(indexes: Sequence[UniqueIndex], setting: str) -> frozenset[str] | None:
    """The columns of the before image, by PostgreSQL's own rules (RelationGetIndexList)."""
    if setting == "f":
        return None
    chosen = {"d": lambda one: one.primary, "i": lambda one: one.replica_identity}.get(setting)
    for index in indexes:
        if chosen is not None and chosen(index) and index.arbitrates:
            return frozenset(index.columns)
    return frozenset()
