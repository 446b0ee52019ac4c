"""The routes that a plugin adds to `sink-runner api`: events, masked queries, requests to services.

Field types for the models of events are in `sink_runner.plugin.field_types`, which needs pydantic.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from .mapping import Table

Kind: TypeAlias = Literal["int", "text", "decimal", "uuid", "json", "timestamp"]
Rows: TypeAlias = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class CapturedColumn:
    """A column of a captured table; `kind` says how Debezium writes its type."""

    name: str
    kind: Kind
    nullable: bool = False
    scale: int | None = None
    """Digits after the point of a numeric(p, s): a value is rounded half up, as by PostgreSQL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRoute:
    """POST /v1/<name> and /v1/<name>/bulk: publish an event that inserts a row of a table.

    The event is what Debezium writes for the row, and it is in Kafka before the caller gets an
    answer.  The table itself is not written.
    """

    name: str
    """The path, and the key of `[api.tables]` by which the settings replace `table`."""
    model: type[Any]
    """A subclass of `EventModel`.  Fields with the name of a column are published; others are only
    checked.  The OpenAPI document describes an event by the name of the class."""
    scope: str
    """The scope that a caller needs, such as ``orders:write``."""
    table: str
    """The captured table: database.schema.table."""
    columns: Sequence[CapturedColumn]
    """All captured columns in the table's order, so that the schema is the one that Debezium
    registers.  The first is the key.  The first of kind timestamp is the event's time: an event
    whose time is more than `max_ahead_seconds` in the future is refused."""

    def __post_init__(self) -> None:
        Table.parse(self.table)
        if not self.columns or self.columns[0].nullable:
            raise ValueError(f"route {self.name!r}: the first column is the key, so not nullable")
        for column in self.columns:
            if column.kind not in get_args(Kind):
                raise ValueError(
                    f"route {self.name!r}, column {column.name!r}: unknown kind {column.kind!r}; "
                    f"expected one of {', '.join(get_args(Kind))}"
                )

    @property
    def operations(self) -> tuple[str, ...]:
        """Method and path of each operation."""
        return f"POST /v1/{self.name}", f"POST /v1/{self.name}/bulk"


@dataclass(frozen=True, slots=True)
class PathParameter:
    """A name in braces in the path of a `QueryRoute`, and a parameter of its query."""

    name: str
    type: Any
    """An annotation that pydantic checks, such as `Uuid`."""
    description: str
    example: Any = None


def first_row(_parameters: Mapping[str, Any], rows: Rows) -> Any:
    """Answer with the first row."""
    return rows[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryRoute:
    """GET /v1<path>: the rows of one query, masked for the caller's group.

    PostgreSQL says which column of a table each value comes from, and the policies for that column
    mask it.  An expression comes from no column, so a query that selects one is refused.
    """

    name: str
    """The operation is ``get_<name>`` in the OpenAPI document."""
    path: str
    model: type[Any]
    """A pydantic model of the answer.  Any field may be null: a mask whose result does not have the
    column's type gives null."""
    scope: str
    """The scope that a caller needs, such as ``orders:read``."""
    sql: str
    """A query of the database `api.database`; parameters are ``%(name)s``."""
    parameters: Sequence[PathParameter] = ()
    answer: Callable[[Mapping[str, Any], Rows], Any] = first_row
    """Builds the fields of `model` from the parameters and the rows, of which there is at least
    one."""
    summary: str
    description: str = ""
    not_found: str = "nothing is known under this id"
    """The detail of the 404 answer if the query finds no row."""

    def __post_init__(self) -> None:
        _check_parameters(self)

    @property
    def operations(self) -> tuple[str, ...]:
        """Method and path of the operation."""
        return (f"GET /v1{self.path}",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRoute:
    """POST /v1<path>: ask another service for a result, which arrives later as an event.

    The service gets ``POST`` with JSON at the URL in `[api.services.<service>]`.  Without that
    section the route is not served.
    """

    name: str
    """The operation is ``post_<name>`` in the OpenAPI document."""
    path: str
    service: str
    """The key of `[api.services]`."""
    scope: str
    """The scope that a caller needs, such as ``forecasts:request``."""
    parameters: Sequence[PathParameter] = ()
    body: Callable[[Mapping[str, Any]], Any] = dict
    """Builds the JSON for the service from the parameters."""
    unless: QueryRoute | None = None
    """A query with the same parameters: if it finds a row, nothing is sent to the service."""
    summary: str
    description: str = ""

    def __post_init__(self) -> None:
        _check_parameters(self)
        if self.unless is not None:
            _check_parameters(self, self.unless.path)

    @property
    def operations(self) -> tuple[str, ...]:
        """Method and path of the operation."""
        return (f"POST /v1{self.path}",)


def _check_parameters(route: QueryRoute | ServiceRoute, path: str | None = None) -> None:
    path = route.path if path is None else path
    names = {parameter.name for parameter in route.parameters}
    if names != set(re.findall(r"\{(\w+)\}", path)):
        raise ValueError(f"route {route.name!r}: parameters must be those in {path}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpApi:
    """What the hook `sink_api` returns."""

    routes: Sequence[EventRoute | QueryRoute | ServiceRoute]
    description: str = ""
    """The first paragraph of the OpenAPI document; if empty, a general one."""

    @property
    def operations(self) -> Iterator[str]:
        for route in self.routes:
            yield from route.operations
