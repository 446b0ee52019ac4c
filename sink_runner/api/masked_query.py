"""Queries of a database, masked for the caller's group.

PostgreSQL reports the table column of each result column, even if the query renames it.  An
expression has no table column and so no policy: a query that selects one is refused.
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
from ..masking.principals import group_principal
from ..postgres.loaders import load_any_moment
from .problems import forbidden, unavailable

_CATEGORIES = """
SELECT oid, CASE WHEN typname IN ('json', 'jsonb') THEN 'json' ELSE typcategory::text END
FROM pg_catalog.pg_type WHERE oid = ANY(%s)
"""
ColumnMasks = tuple[tuple[str, MaskFunction | None], ...]


class MaskedQuery:
    """One query, with masks that are cached for each group until the policies change."""

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
        self._type_categories: dict[str, str] = {}
        self._masks: dict[str, tuple[Policies, ColumnMasks]] = {}

    def rows(self, parameters: Mapping[str, Any], group: str) -> list[dict[str, Any]]:
        """Return the rows, masked for `group`.  Raises ProblemError if a policy is missing."""
        try:
            with self._pool.connection() as connection:
                cursor = connection.cursor()
                load_any_moment(cursor)
                found = cursor.execute(self._sql, parameters).fetchall()
                masks = self._masks_for(connection, cursor, group)
        except StalePoliciesError:
            raise unavailable("the source of the masking policies", seconds=60) from None
        except (psycopg.OperationalError, PoolTimeout):
            raise unavailable("the database") from None
        return [_mask_row(row, masks) for row in found]

    def _masks_for(
        self, connection: psycopg.Connection, cursor: psycopg.Cursor[Any], group: str
    ) -> ColumnMasks:
        policies = self._policies()
        known, masks = self._masks.get(group, (None, ()))
        if known is policies:
            return masks
        if not group:
            raise forbidden("the caller belongs to no group of the masking policies")
        with self._lock:
            if not self._columns:
                self._type_categories = _type_categories(connection, cursor)
                self._columns = _read_origins(connection, cursor, self._database)
        try:
            principal = group_principal(group)
            decided = [
                (name, origin.decide(policies, principal)) for name, origin in self._columns.items()
            ]
        except PolicyError:
            raise forbidden("a masking policy is missing for the caller's group") from None
        masks = tuple((name, self._fit_type(name, mask)) for name, mask in decided)
        self._masks[group] = policies, masks
        return masks

    def _fit_type(self, name: str, mask: Mask | None) -> MaskFunction | None:
        """Return the mask if its results have the column's type, else one that returns NULL."""
        if mask is None or mask.function is None:
            return None
        match self._type_categories[name]:
            case "S" | "E":
                return mask.function
            case "D" if mask.kind is MaskKind.DATE_SHOW_YEAR:
                return mask.function
            case "json":
                return _null_unless_same_class(mask.function)
            case _:
                return to_null


def _null_unless_same_class(mask: MaskFunction) -> MaskFunction:
    def masked_or_null(value: Any) -> Any:
        masked = None if value is None else mask(value)
        return masked if isinstance(masked, type(value)) else None

    return masked_or_null


def _read_origins(
    connection: psycopg.Connection, cursor: psycopg.Cursor[Any], database: str
) -> dict[str, Origin]:
    """Return the table column of each result column."""
    assert cursor.pgresult is not None
    found = result_columns(connection, database, cursor.pgresult)
    unknown = [column.name for column in found if not column.path]
    if unknown:
        raise ConfigError(f"columns of no table have no policy: {', '.join(unknown)}")
    return {
        column.name: Origin(path=column.path, computed="" if column.is_table else "computed")
        for column in found
    }


def _type_categories(connection: psycopg.Connection, cursor: psycopg.Cursor[Any]) -> dict[str, str]:
    """Return the category of each column's type: pg_type.typcategory, or `json`."""
    columns = cursor.description or ()
    types = [column.type_code for column in columns]  # a domain is reported as its base type
    found: dict[int, str] = dict(connection.execute(_CATEGORIES, (types,)).fetchall())
    return {column.name: found[column.type_code] for column in columns}


def _mask_row(row: Sequence[Any], masks: ColumnMasks) -> dict[str, Any]:
    return {
        name: to_json(value if mask is None else mask(value))
        for (name, mask), value in zip(masks, row, strict=True)
    }


def to_json(value: Any) -> Any:
    """Convert a value for JSON: a time without zone is UTC; NaN and Infinity become null."""
    convert = next((known for kind, known in _TO_JSON.items() if isinstance(value, kind)), str)
    return convert(value)


def _finite_or_none(value: Decimal | float) -> float | None:
    return float(value) if isfinite(value) else None


_TO_JSON: Mapping[type | tuple[type, ...], Callable[[Any], Any]] = {
    (type(None), bool, int, str): lambda value: value,
    (Decimal, float): _finite_or_none,
    list: lambda items: [to_json(item) for item in items],
    dict: lambda members: {name: to_json(value) for name, value in members.items()},
    bytes: lambda octets: "\\x" + octets.hex(),
    datetime: lambda moment: moment.isoformat() + ("" if moment.tzinfo else "Z"),
    date: date.isoformat,
}
