"""The statements that give the roles of one database what the mappings need there, and no more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..plugin import Delete, OnTruncate, SetColumns, Strategy, TableMapping
from .catalog import qualified, quoted

ORIGIN_FUNCTIONS = [
    "pg_replication_origin_oid",
    "pg_replication_origin_create",
    "pg_replication_origin_session_setup",
    # A session that a pooler had given to another client may have an origin.
    "pg_replication_origin_session_is_setup",
    "pg_replication_origin_session_reset",
    "pg_replication_origin_xact_reset",
]
_ROLE = """\
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {literal}) THEN
    CREATE ROLE {role} LOGIN;
  END IF;
END $$;"""
_DATABASE = """\
DO $$ BEGIN
  EXECUTE format('GRANT {privilege} ON DATABASE %I TO %I', current_database(), {literal});
END $$;"""
# By name, because the signatures differ between versions of PostgreSQL.
_ORIGINS = """\
DO $$ DECLARE origin_function regprocedure; BEGIN
  FOR origin_function IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
    AND proname IN ({names})
  LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', origin_function, {literal});
  END LOOP;
END $$;"""
# A batch reads the rows in the order of the primary key, which the mapping need not carry.
_KEY = """\
DO $$ DECLARE key name; BEGIN
  FOR key IN SELECT a.attname FROM pg_index i
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
    WHERE i.indisprimary AND i.indrelid = {table}::regclass
  LOOP
    EXECUTE format('GRANT SELECT (%I) ON %s TO %I', key, {table}::regclass, {literal});
  END LOOP;
END $$;"""
# Of serial columns that the mapping leaves to their default; identity columns need no grant.
_SEQUENCES = """\
DO $$ DECLARE used regclass; BEGIN
  FOR used IN SELECT d.objid::regclass FROM pg_depend d
    WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'a' AND d.refobjid = {table}::regclass
      AND d.objid IN (SELECT oid FROM pg_class WHERE relkind = 'S')
  LOOP
    EXECUTE format('GRANT USAGE ON SEQUENCE %s TO %I', used, {literal});
  END LOOP;
END $$;"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The names of the roles in one database."""

    capture: str
    writer: str
    reader: str


def grants(database: str, mappings: Mapping[str, TableMapping], roles: Roles) -> Iterator[str]:
    """Yield the statements for one database; all may run again.

    What the SQL of a lookup or of a batch query reads is not known here: it is named in a comment.
    """
    sources = {n: m for n, m in mappings.items() if m.source_table.database == database}
    targets = {n: m for n, m in mappings.items() if m.target_table.database == database}
    if sources:
        yield from _role(roles.capture, ["CONNECT"])
        yield f"ALTER ROLE {quoted(roles.capture)} REPLICATION;"
    if targets:
        yield from _role(roles.writer, ["CONNECT", "TEMPORARY"])
        yield f"CREATE SCHEMA IF NOT EXISTS sink AUTHORIZATION {quoted(roles.writer)};"
        names = ", ".join(map(_literal, ORIGIN_FUNCTIONS))
        yield _ORIGINS.format(names=names, literal=_literal(roles.writer))
    yield from _role(roles.reader, ["CONNECT"])
    for name, mapping in sorted(sources.items()):
        yield from _source(name, mapping, roles)
    for name, mapping in sorted(targets.items()):
        yield from _target(name, mapping, roles.writer)
    for name, mapping in sorted(mappings.items()):
        yield from _queries(name, mapping, database, roles.reader)


def _role(role: str, privileges: Iterable[str]) -> Iterator[str]:
    literal = _literal(role)
    yield _ROLE.format(literal=literal, role=quoted(role))
    for privilege in privileges:
        yield _DATABASE.format(literal=literal, privilege=privilege)


def _source(name: str, mapping: TableMapping, roles: Roles) -> Iterator[str]:
    table = mapping.source_table
    used, schema = qualified(table.schema, table.name), quoted(table.schema)
    yield f"-- mapping {name} reads {table}"
    if mapping.streaming:
        yield f"GRANT USAGE ON SCHEMA {schema} TO {quoted(roles.capture)};"
        yield f"GRANT SELECT ON {used} TO {quoted(roles.capture)};"
    yield f"GRANT USAGE ON SCHEMA {schema} TO {quoted(roles.reader)};"
    if mapping.query is None:
        columns = _list([*mapping.source_columns, "xmin"])
        yield f"GRANT SELECT ({columns}) ON {used} TO {quoted(roles.reader)};"
        yield _KEY.format(table=_literal(used), literal=_literal(roles.reader))


def _target(name: str, mapping: TableMapping, writer: str) -> Iterator[str]:
    table, role = mapping.target_table, quoted(writer)
    used = qualified(table.schema, table.name)
    yield f"-- mapping {name} writes {table}"
    yield f"GRANT USAGE ON SCHEMA {quoted(table.schema)} TO {role};"
    if mapping.derived is not None:  # its SQL decides on the columns
        yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON {used} TO {role};"
        return
    written = [column.name for column in mapping.columns]
    marked = _marked(mapping)
    updated = [n for n in written if n not in mapping.key] + marked
    if mapping.conflict.strategy is Strategy.INSERT_ONCE:
        updated = marked
    yield f"GRANT SELECT ({_list([*mapping.key, *written, *marked])}) ON {used} TO {role};"
    yield f"GRANT INSERT ({_list(written)}) ON {used} TO {role};"
    if updated:
        yield f"GRANT UPDATE ({_list(updated)}) ON {used} TO {role};"
    if _deletes(mapping):
        yield f"GRANT DELETE ON {used} TO {role};"
    yield _SEQUENCES.format(table=_literal(used), literal=_literal(writer))


def _queries(name: str, mapping: TableMapping, database: str, reader: str) -> Iterator[str]:
    queries = [
        lookup.query
        for column in mapping.columns
        for lookup in column.lookups
        if lookup.database == database
    ]
    if mapping.query is not None and mapping.source_table.database == database:
        queries.append(mapping.query.select)
    for query in queries:
        yield f"-- mapping {name}: let role {reader} read for this: {' '.join(query.split())}"


def _marked(mapping: TableMapping) -> list[str]:
    actions = (mapping.on_delete, mapping.on_remove, mapping.on_key_change)
    return [name for one in actions if isinstance(one, SetColumns) for name in one.values]


def _deletes(mapping: TableMapping) -> bool:
    actions = (mapping.on_delete, mapping.on_remove, mapping.on_key_change)
    empties = mapping.on_truncate is OnTruncate.EMPTY
    return empties or any(isinstance(one, Delete) for one in actions)


def _list(names: Sequence[str]) -> str:
    return ", ".join(quoted(name) for name in dict.fromkeys(names))


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
