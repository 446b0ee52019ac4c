"""Turn PostgreSQL's refusal for want of a privilege into the statement that grants it."""

from __future__ import annotations

import re

from ..plugin import Table

# The names of tables, columns and functions are not personal; the message holds no row's value.
_DENIED = re.compile(
    r"permission denied (?:for|to) (?P<kind>[a-z ]+?) \"?(?P<name>[^\"]+?)\"?"
    r"(?: of relation \"?(?P<of>[^\"]+?)\"?)?$"
)
_OWNER = re.compile(r"must be owner of (?P<kind>[a-z ]+?) \"?(?P<name>[^\"]+?)\"?$")
_TABLES = frozenset({"table", "view", "materialized view", "foreign table", "relation"})
_PRIVILEGES = {
    "schema": "USAGE",
    "sequence": "USAGE, SELECT",
    "function": "EXECUTE",
    "procedure": "EXECUTE",
    "type": "USAGE",
    "database": "CREATE, TEMPORARY",
    "language": "USAGE",
}
_TABLE_PRIVILEGES = "SELECT, INSERT, UPDATE, DELETE"
ROLE = "<role>"


def missing_grant(message: str | None, role: str | None, table: Table | None) -> str:
    """Return what the role lacks and the statement to run as the owner.

    `message` is the server's primary message; where it is in another language than English, the
    mapping's target table is named in its place.
    """
    who = role or ROLE
    found = _DENIED.match(message or "")
    if found is None:
        return _by_owner(message, who) or _for_target(who, table)
    kind, name, of = found["kind"], found["name"], found["of"]
    if kind == "column" and of:
        grant = (
            f"GRANT SELECT ({name}), INSERT ({name}), UPDATE ({name}) ON TABLE "
            f"{_qualified(of, table)} TO {who}"
        )
    elif kind in _TABLES:
        grant = f"GRANT {_TABLE_PRIVILEGES} ON TABLE {_qualified(name, table)} TO {who}"
    else:
        privileges = _PRIVILEGES.get(kind, "USAGE")
        grant = f"GRANT {privileges} ON {kind.upper()} {name} TO {who}"
    return f"role {who} has no permission for {kind} {name}; as its owner run: {grant}"


def _by_owner(message: str | None, who: str) -> str:
    found = _OWNER.match(message or "")
    if found is None:
        return ""
    kind, name = found["kind"], found["name"]
    return f"role {who} must own {kind} {name}; run: ALTER {kind.upper()} {name} OWNER TO {who}"


def _for_target(who: str, table: Table | None) -> str:
    if table is None:
        return f"role {who} lacks a privilege; GRANT it what the mapping reads and writes"
    name = _qualified(table.name, table)
    return (
        f"role {who} lacks a privilege on {name} or on what its triggers use; as the owner run: "
        f"GRANT {_TABLE_PRIVILEGES} ON TABLE {name} TO {who}"
    )


def _qualified(name: str, table: Table | None) -> str:
    """The server names a table without its schema; ours is known."""
    if table is None or name != table.name:
        return _quoted(name)
    return f"{_quoted(table.schema)}.{_quoted(table.name)}"


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[a-z_][a-z0-9_$]*", name) else '"' + name.replace('"', '""') + '"'
