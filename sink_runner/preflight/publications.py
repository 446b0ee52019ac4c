"""Read the publications of a table, and check that they publish all of its changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..model.findings import Fault
from ..postgres.catalog import quoted
from ..postgres.session import Connection
from .table_facts import PARTITIONED, TableFacts

# to_jsonb, because older servers have neither column lists nor row filters.
_PUBLICATIONS = """
SELECT p.pubname::text, p.pubviaroot, p.pubinsert, p.pubupdate, p.pubdelete,
       (SELECT to_jsonb(t) FROM pg_publication_tables t
        WHERE t.pubname = p.pubname AND t.schemaname = %(schema)s AND t.tablename = %(name)s),
       EXISTS (SELECT FROM pg_publication_tables t
               JOIN pg_namespace n ON n.nspname = t.schemaname
               JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
               WHERE t.pubname = p.pubname AND c.oid <> %(oid)s
                 AND c.oid IN (SELECT relid FROM pg_partition_tree(%(oid)s))),
       (SELECT t.schemaname || '.' || t.tablename FROM pg_publication_tables t
        JOIN pg_namespace n ON n.nspname = t.schemaname
        JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
        WHERE t.pubname = p.pubname AND c.oid <> %(oid)s
          AND c.oid IN (SELECT relid FROM pg_partition_ancestors(%(oid)s)) LIMIT 1)
FROM pg_publication p ORDER BY p.pubname
"""
_ALL = "insert, update, delete, truncate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What one publication publishes of one table."""

    name: str
    via_root: bool
    operations: frozenset[str]
    lists_table: bool
    lists_partitions: bool
    ancestor: str | None
    """The partitioned table under whose name the changes are published."""
    columns: frozenset[str] | None
    row_filter: str | None


class _Row(NamedTuple):
    """One publication as `_PUBLICATIONS` selects it."""

    name: str
    via_root: bool
    inserts: bool
    updates: bool
    deletes: bool
    entry: dict[str, Any] | None
    lists_partitions: bool
    ancestor: str | None

    def publication(self) -> Publication:
        published = {"insert": self.inserts, "update": self.updates, "delete": self.deletes}
        entry = self.entry or {}
        columns = entry.get("attnames")
        return Publication(
            name=self.name,
            via_root=self.via_root,
            operations=frozenset(kind for kind, on in published.items() if on),
            lists_table=self.entry is not None,
            lists_partitions=self.lists_partitions,
            ancestor=self.ancestor,
            columns=None if columns is None else frozenset(columns),
            row_filter=entry.get("rowfilter"),
        )


def read_publications(connection: Connection, table: TableFacts) -> list[Publication]:
    parameters = {"schema": table.table.schema, "name": table.table.name, "oid": table.oid}
    rows = connection.execute(_PUBLICATIONS, parameters).fetchall()
    return [_Row(*row).publication() for row in rows]


def publication_faults(
    publications: Sequence[Publication],
    table: TableFacts,
    columns: Sequence[str],
    *,
    named: str | None,
    follows: bool,
) -> list[Fault]:
    """Return why the table's changes are not all published; empty where they are.

    `named` is the publication that capture reads. None: no setting names it, and it suffices that
    one publication has all changes. `follows`: the mapping applies updates and deletes.
    """
    if named is not None:
        publications = [one for one in publications if one.name == named]
        if not publications:
            return [_missing(named, table)]
    about = [one for one in publications if one.lists_table or one.lists_partitions or one.ancestor]
    if not about:
        only = publications[0].name if len(publications) == 1 else None
        return [_absent(only, table)]
    found = [list(_faults(one, table, columns, follows=follows)) for one in about]
    return min(found, key=len)


def _missing(named: str, table: TableFacts) -> Fault:
    return Fault(
        f"publication {named} does not exist in database {table.table.database}",
        f"a publication of {table.sql_name}",
        f"CREATE PUBLICATION {quoted(named)} FOR TABLE {table.sql_name}",
    )


def _absent(name: str | None, table: TableFacts) -> Fault:
    where = "no publication" if name is None else f"not in publication {name}"
    which = "<the publication that capture reads>" if name is None else quoted(name)
    return Fault(
        f"{table.table} is {'in ' if name is None else ''}{where}: its changes are never captured",
        "the table in the publication that capture reads",
        f"ALTER PUBLICATION {which} ADD TABLE {table.sql_name}",
    )


def _faults(
    one: Publication, table: TableFacts, columns: Sequence[str], *, follows: bool
) -> Iterator[Fault]:
    name = quoted(one.name)
    if not one.lists_table and one.ancestor is not None:
        yield Fault(
            f"{table.table} is a partition, and publication {one.name} publishes its changes as "
            f"those of {one.ancestor}",
            f"the mapping's source to be {table.table.database}.{one.ancestor}",
            f"name {table.table.database}.{one.ancestor} as source, or "
            f"ALTER PUBLICATION {name} SET (publish_via_partition_root = false)",
        )
        return
    if table.kind == PARTITIONED and not one.via_root:
        yield Fault(
            f"{table.table} is partitioned, and publication {one.name} publishes the changes under "
            "the names of its partitions, which have topics of their own",
            f"the changes under the name of {table.table}",
            f"ALTER PUBLICATION {name} SET (publish_via_partition_root = true)",
        )
    needed = {"insert", "update", "delete"} if follows else {"insert"}
    if lacking := sorted(needed - one.operations):
        yield Fault(
            f"publication {one.name} does not publish {', '.join(lacking)}",
            "every change that the mapping follows",
            f"ALTER PUBLICATION {name} SET (publish = '{_ALL}')",
        )
    yield from _left_out(one, table, columns)


def _left_out(one: Publication, table: TableFacts, columns: Sequence[str]) -> Iterator[Fault]:
    name = quoted(one.name)
    again = (
        f"ALTER PUBLICATION {name} DROP TABLE {table.sql_name}; "
        f"ALTER PUBLICATION {name} ADD TABLE {table.sql_name}"
    )
    present = [column for column in columns if column in table.columns]
    hidden = [] if one.columns is None else sorted(set(present) - one.columns)
    hidden = [column for column in hidden if not table.columns[column].generated]
    if hidden:
        yield Fault(
            f"the column list of {table.table} in publication {one.name} leaves out "
            f"{', '.join(hidden)}",
            "every column that the mapping reads",
            again,
        )
    if one.row_filter:
        yield Fault(
            f"publication {one.name} has a row filter for {table.table}: rows that it leaves out "
            "would be missing in the target without a trace",
            "every row, or a filter of the plugin (sink_filter)",
            again,
        )
