"""Queries of a database, masked for the caller's group.

Which column a value comes from is not ours to say: PostgreSQL tells it for every column of an
answer, whatever it is called there.  What comes from no column, such as an expression, has no
policy and is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from ..errors import ConfigError, PolicyError, StalePoliciesError
from ..masking.column_origins import result_columns
from ..masking.masks import MaskFunction, MaskKind, to_null
from ..masking.origins import Origin
from ..masking.policy import Mask, Policies
from ..masking.principals import group_reader
from ..postgres.loaders import load_any_moment
from .problems import forbidden, unavailable

_CATEGORIES = """
SELECT oid, CASE WHEN typname IN ('json', 'jsonb') THEN 'json' ELSE typcategory::text END
FROM pg_catalog.pg_type WHERE oid = ANY(%s)
"""
Steps = tuple[tuple[str, MaskFunction | None], ...]


class MaskedQuery:
    """One query; its columns' masks are looked up once for each group and policies."""

    def __init__(
        self,
        sql: str,
        database: str,
        policies: Callable[[], Policies],
        pool: ConnectionPool[psycopg.Connection],
    ) -> None:
        self._sql = sql.encode()
        self._database = database
        self._policies = policies
        self._pool = pool
        self._lock = threading.Lock()
        self._columns: dict[str, Origin] = {}
        self._categories: dict[str, str] = {}
        self._steps: dict[str, tuple[Policies, Steps]] = {}

    def rows(self, parameters: Mapping[str, Any], group: str) -> list[dict[str, Any]]:
        """The rows as `group` may see them; a missing policy refuses them all."""
        try:
            with self._pool.connection() as connection:
                cursor = connection.cursor()
                load_any_moment(cursor)
                found = cursor.execute(self._sql, parameters).fetchall()
                steps = self._steps_for(connection, cursor, group)
        except StalePoliciesError:
            raise unavailable("the source of the masking policies", seconds=60) from None
        except (psycopg.OperationalError, PoolTimeout):
            raise unavailable("the database") from None
        return [_masked(row, steps) for row in found]

    def _steps_for(
        self, connection: psycopg.Connection, cursor: psycopg.Cursor[Any], group: str
    ) -> Steps:
        policies = self._policies()
        known, steps = self._steps.get(group, (None, ()))
        if known is policies:
            return steps
        if not group:
            raise forbidden("the caller belongs to no group of the masking policies")
        with self._lock:
            if not self._columns:
                self._categories = _categories(connection, cursor)
                self._columns = _origins(connection, cursor, self._database)
        try:
            reader = group_reader(group)
            masks = {
                name: origin.decide(policies, reader) for name, origin in self._columns.items()
            }
        except PolicyError:
            raise forbidden(
                "a masking policy is missing for the caller's group; `sink-runner api` cannot "
                "show what nobody has decided on"
            ) from None
        steps = tuple((name, self._fitting(name, mask)) for name, mask in masks.items())
        self._steps[group] = policies, steps
        return steps

    def _fitting(self, name: str, mask: Mask | None) -> MaskFunction | None:
        """A mask that answers the column's own type, or NULL: callers parse by the type."""
        if mask is None or mask.function is None:
            return None
        match self._categories[name]:
            case "S" | "E":
                return mask.function
            case "D" if mask.kind is MaskKind.DATE_SHOW_YEAR:
                return mask.function
            case "json":
                return _of_same_class(mask.function)
            case _:
                return to_null


def _of_same_class(mask: MaskFunction) -> MaskFunction:
    def fitting(value: Any) -> Any:
        masked = None if value is None else mask(value)
        return masked if isinstance(masked, type(value)) else None

    return fitting


def _origins(
    connection: psycopg.Connection, cursor: psycopg.Cursor[Any], database: str
) -> dict[str, Origin]:
    """Each column of the answer with the column of a table that it is."""
    assert cursor.pgresult is not None
    found = result_columns(connection, database, cursor.pgresult)
    unknown = [column.name for column in found if not column.path]
    if unknown:
        raise ConfigError(f"columns of no table have no policy: {', '.join(unknown)}")
    return {
        column.name: Origin(path=column.path, computed="" if column.is_table else "computed")
        for column in found
    }


def _categories(connection: psycopg.Connection, cursor: psycopg.Cursor[Any]) -> dict[str, str]:
    """The category of each column's type, as pg_type has it, or `json`."""
    columns = cursor.description or ()
    numbers = [column.type_code for column in columns]  # a domain's is that of its base type
    found: dict[int, str] = dict(connection.execute(_CATEGORIES, (numbers,)).fetchall())
    return {column.name: found[column.type_code] for column in columns}


def _masked(row: Sequence[Any], steps: Steps) -> dict[str, Any]:
    return {
        name: plain(value if mask is None else mask(value))
        for (name, mask), value in zip(steps, row, strict=True)
    }


def plain(value: Any) -> Any:
    """A value as JSON has it; times without zone are UTC, what is no number is NULL."""
    convert = next((known for kind, known in _PLAIN.items() if isinstance(value, kind)), str)
    return convert(value)


def _number(value: Decimal | float) -> float | None:
    return float(value) if isfinite(value) else None


def _same(value: Any) -> Any:
    return value


_PLAIN: Mapping[type | tuple[type, ...], Callable[[Any], Any]] = {
    (type(None), bool, int, str): _same,
    (Decimal, float): _number,
    list: lambda items: [plain(item) for item in items],
    dict: lambda members: {name: plain(value) for name, value in members.items()},
    bytes: lambda octets: "\\x" + octets.hex(),
    datetime: lambda moment: moment.isoformat() + ("" if moment.tzinfo else "Z"),
    date: date.isoformat,
}
