"""Check a plugin's SQL: lookups, the query of a batch, the derivation from candidates.

Each statement runs with LIMIT 0 as the role that will run it. So a misspelt name, a missing grant
or an impossible cast is found before a row is written, and no row is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg import errors
from psycopg.postgres import types as builtin

from ..model.findings import Fault
from ..plugin import AllOf, Column, Lookup
from ..postgres.catalog import quoted
from ..transform.target_lookups import reads_target
from .subject import Subject

_OF_THE_QUERY = frozenset({"0A", "22", "3F", "42"})
"""Classes of SQLSTATE that are faults of the query, and not of the server's state."""
_DENIED = re.compile(r"^permission denied for (table|view|schema|function|sequence) (\S+)$")
_GRANTS = {
    "table": "SELECT ON {}",
    "view": "SELECT ON {}",
    "schema": "USAGE ON SCHEMA {}",
    "function": "EXECUTE ON FUNCTION {}",
    "sequence": "SELECT ON SEQUENCE {}",
}
_TEXTS = {builtin[name].oid for name in ("text", "varchar", "bpchar", "name")}


def check_lookups(subject: Subject) -> Iterator[Fault]:
    """A lookup that does not run, or does not return the requested values as text."""
    for column in subject.mapping.columns:
        for place, lookup in enumerate(column.lookups):
            yield from _lookup(subject, column, lookup, place)


def _lookup(subject: Subject, column: Column, lookup: Lookup, place: int) -> Iterator[Fault]:
    where = f"lookup of column {column.name} in database {lookup.database}"
    configured = subject.config.databases.get(lookup.database)
    if configured is None:
        return  # check_mapping has reported it
    found: list[tuple[str, int]] = []
    dsns = [configured.reader_dsn]
    if reads_target(subject.mapping, lookup):
        dsns.append(configured.dsn)  # it also runs in the write transaction
    taken: list[Any] = [[] for _ in range(lookup.query.count("%s"))]
    for dsn in dsns:
        session = subject.open_session(dsn)
        described = _describe(session, lookup.query, taken, where, column.name)
        if isinstance(described, Fault):
            yield described
            return
        found = described
    if column.convert is None:  # else the number of requested values is not known
        together = isinstance(column.source, AllOf) and place == 0
        yield from _answer(found, where, column, len(column.sources) if together else 1)


def _answer(
    found: Sequence[tuple[str, int]], where: str, column: Column, requested: int
) -> Iterator[Fault]:
    if len(found) != requested + 1:
        yield Fault(
            f"the {where} returns {len(found)} columns",
            f"{requested + 1}: the requested values, then the result",
            "correct the query in the plugin",
            column=column.name,
        )
        return
    for name, oid in found[:requested]:
        if oid not in _TEXTS and oid in _KNOWN:
            yield Fault(
                f"the {where} returns {name} as {_KNOWN[oid]}, which never equals the "
                "requested text",
                "the requested values as text",
                f"select {name}::text in the plugin's query",
                column=column.name,
            )


_KNOWN = {info.oid: info.regtype for info in builtin}


def check_query(subject: Subject) -> Iterator[Fault]:
    """A query of a batch that does not run, or lacks columns that the mapping reads."""
    query = subject.mapping.query
    if query is None:
        return
    select = query.select.strip().rstrip(";")
    select = select.replace("{changed}", "true").replace("{since}", "'-infinity'::timestamp")
    found = _describe(subject.reading, select, None, "mapping's query")
    if isinstance(found, Fault):
        yield found
        return
    names = {name for name, _ in found}
    if missing := [name for name in subject.mapping.source_columns if name not in names]:
        yield Fault(
            f"the mapping's query does not return {', '.join(missing)}",
            "every column that the mapping reads",
            "add them to the query in the plugin",
            column=missing[0],
        )


def check_derivation(subject: Subject) -> Iterator[Fault]:
    """A derivation that does not run, or does not return columns of the target with its key."""
    candidates = subject.mapping.derived
    if candidates is None:
        return
    what = f"derivation of {subject.mapping.target}"
    try:
        derived = subject.derived
    except psycopg.Error as fault:
        yield _query_fault(fault, candidates.select, what, subject.writing.info.user)
        return
    needed = {*subject.mapping.key, *candidates.group}
    unknown = [name for name in derived if name not in subject.target.columns]
    missing = sorted(needed - set(derived))
    for names, verb in ((unknown, "returns, unknown to the target,"), (missing, "lacks")):
        if names:
            yield Fault(
                f"the {what} {verb} {', '.join(names)}",
                f"columns of the target, {', '.join(sorted(needed))} among them",
                "correct Derived.select in the plugin",
                column=names[0],
            )
    for name in derived:
        column = subject.target.columns.get(name)
        if column is not None and (column.generated or column.always_identity):
            yield Fault(
                f"column {name} of {subject.mapping.target} is generated by the database",
                "a column that can be written and updated",
                f"take {name} out of Derived.select"
                if column.generated
                else f"ALTER TABLE {subject.target.sql_name} ALTER COLUMN {quoted(name)} SET "
                "GENERATED BY DEFAULT",
                column=name,
            )


def _describe(
    session: psycopg.Connection[Any],
    query: str,
    parameters: Sequence[Any] | None,
    what: str,
    column: str = "",
) -> list[tuple[str, int]] | Fault:
    """Return names and types of the columns that a query returns, or why it does not run."""
    text = query.strip().rstrip(";")
    whole = f"SELECT * FROM (\n{text}\n) checked LIMIT 0"
    try:
        description = session.execute(whole.encode(), parameters).description or ()
    except psycopg.Error as fault:
        return _query_fault(fault, query, what, session.info.user, column)
    return [(found.name, found.type_code) for found in description]


def _query_fault(fault: psycopg.Error, query: str, what: str, role: str, column: str = "") -> Fault:
    """Return why a query does not run, with PostgreSQL's message: it cannot quote a row.

    Raises the error again where it is not a fault of the query.
    """
    state = fault.sqlstate or ""
    if state[:2] not in _OF_THE_QUERY:
        raise fault
    said = fault.diag.message_primary or type(fault).__name__
    denied = _DENIED.search(said)
    if isinstance(fault, errors.InsufficientPrivilege) and denied:
        remedy = (
            f"GRANT {_GRANTS[denied[1]].format(_qualified(denied[2], query))} TO {quoted(role)}"
        )
    else:
        remedy = "correct the query in the plugin"
    problem = f"the {what} fails for role {role}: {said} (SQLSTATE {state})"
    return Fault(problem, "a query that runs", remedy, column=column)


def _qualified(name: str, query: str) -> str:
    """Return the name with its schema in the query, which PostgreSQL's message leaves out."""
    found = re.search(rf"[\w\"]+\.\"?{re.escape(name)}\b\"?", query)
    return found[0] if found else name
