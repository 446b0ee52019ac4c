"""The source columns of a query's values are derived from what PostgreSQL reports."""

from collections.abc import Callable
from typing import Any

import pytest

from sink_runner.errors import ConfigError
from sink_runner.masking.column_origins import read_origins
from sink_runner.plugin import Column, Lookup, Query, TableMapping, source_wins

pytestmark = pytest.mark.postgres


@pytest.fixture
def table(scratch: Any) -> Any:
    scratch.table("id int PRIMARY KEY, mobile text, city varchar(20)")
    return scratch


@pytest.fixture
def origin(table: Any) -> Callable[..., Any]:
    """Return a function that reads the only origin of the value that a lookup query returns."""

    def read(query: str, dsn: str = "", **declared: Any) -> Any:
        text = query.replace("{s}", table.schema)
        lookup = Lookup(text, "north", **declared)
        mapping = TableMapping(
            source=f"north.{table.schema}.t",
            target="south.public.t",
            key=("id",),
            conflict=source_wins(),
            columns=(Column("id"), Column("found", "id", lookup=lookup)),
        )
        (only_origin,) = read_origins(mapping, {"north": dsn or table.dsn}).lookups["found"]
        return only_origin

    return read


DIRECT = [
    "SELECT id::text, mobile FROM {s}.t WHERE id = ANY (%s)",
    "SELECT id::text, mobile AS anything FROM {s}.t WHERE id = ANY (%s)",
    "SELECT x.id::text, x.a FROM (SELECT id, mobile AS a FROM {s}.t) x WHERE id = ANY (%s)",
    "WITH c AS (SELECT id, mobile FROM {s}.t) SELECT id::text, mobile FROM c WHERE id = ANY (%s)",
    (
        "SELECT DISTINCT ON (a) a, mobile FROM unnest(%s::text[]) a JOIN {s}.t ON id = a::int "
        "ORDER BY a"
    ),
    (
        "SELECT a, t.mobile FROM unnest(%s::text[]) a LEFT JOIN LATERAL "
        "(SELECT mobile FROM {s}.t WHERE id = a::int LIMIT 1) t ON true"
    ),
    "SELECT a, mobile FROM unnest(%s::text[]) a JOIN {s}.t USING (id)".replace(
        "a JOIN", "a (id) JOIN"
    )
    .replace("SELECT a,", "SELECT a.id,")
    .replace("USING (id)", "ON t.id = a.id::int"),
]
COMPUTED = [
    "SELECT id::text, mobile || '' FROM {s}.t WHERE id = ANY (%s)",
    "SELECT id::text, coalesce(mobile, city) FROM {s}.t WHERE id = ANY (%s)",
    "SELECT id::text, city::text FROM {s}.t WHERE id = ANY (%s)",
    "SELECT id::text, (SELECT mobile) FROM {s}.t WHERE id = ANY (%s)",
    "SELECT id::text, max(mobile) FROM {s}.t WHERE id = ANY (%s) GROUP BY id",
    (
        "SELECT id::text, x FROM (SELECT id, city AS x FROM {s}.t UNION ALL SELECT id, mobile "
        "FROM {s}.t) u WHERE id = ANY (%s)"
    ),
    "SELECT a, a FROM unnest(%s::text[]) a",
    "SELECT id::text, reverse(mobile) FROM {s}.t WHERE id = ANY (%s)",
]


@pytest.mark.parametrize("query", DIRECT)
def test_column_is_followed_through_the_query(origin: Any, table: Any, query: str) -> None:
    found = origin(query)
    assert found.path == (("north", table.schema, "t", "mobile"),)
    assert (found.type, found.computed) == ("text", "")


@pytest.mark.parametrize("query", COMPUTED)
def test_computed_value_has_no_column(origin: Any, query: str) -> None:
    found = origin(query)
    assert found.path == ()
    assert "what the lookup of column 'found' finds in database north is computed" in found.computed
    assert "made_of=" in found.computed


def create_view(scratch: Any, columns: str, name: str = "v", of: str = "t") -> None:
    scratch.admin.execute(
        f"CREATE VIEW {scratch.schema}.{name} AS SELECT {columns} FROM {scratch.schema}.{of}"
    )
    scratch.admin.execute(f"GRANT SELECT ON {scratch.schema}.{name} TO sink_writer")


THROUGH_VIEW = "SELECT id::text, copied FROM {s}.v WHERE id = ANY (%s)"


def test_column_is_followed_through_views(origin: Any, table: Any) -> None:
    create_view(table, "id, mobile AS inner_name", "inner_view")
    create_view(table, "id, inner_name AS copied", of="inner_view")
    found = origin(THROUGH_VIEW)
    columns = [("v", "copied"), ("inner_view", "inner_name"), ("t", "mobile")]
    assert found.path == tuple(("north", table.schema, *column) for column in columns)
    assert found.computed == ""


def test_expression_of_a_view_is_computed(origin: Any, table: Any) -> None:
    create_view(table, "id, mobile || '' AS copied")
    found = origin(THROUGH_VIEW)
    assert found.path == (("north", table.schema, "v", "copied"),)
    assert "made_of=" in found.computed


def test_view_over_unreadable_schema_is_computed(origin: Any, table: Any) -> None:
    """The reader has no privilege on the view's schema, so the view's columns are unknown."""
    table.admin.execute(f"CREATE SCHEMA {table.schema}_unreadable")
    table.admin.execute(f"CREATE TABLE {table.schema}_unreadable.t (id int, mobile text)")
    table.admin.execute(
        f"CREATE VIEW {table.schema}.v AS "
        f"SELECT id, mobile AS copied FROM {table.schema}_unreadable.t"
    )
    table.admin.execute(f"GRANT SELECT ON {table.schema}.v TO sink_writer")
    found = origin(THROUGH_VIEW)
    assert found.path == (("north", table.schema, "v", "copied"),)
    assert found.computed


def test_declared_columns_replace_computed_value(origin: Any, table: Any) -> None:
    found = origin(COMPUTED[0], made_of=(f"north.{table.schema}.t.mobile",))
    assert found.path == (("north", table.schema, "t", "mobile"),)
    assert (found.type, found.computed) == ("text", "")


def test_declared_columns_do_not_replace_known_origin(origin: Any, table: Any) -> None:
    found = origin(DIRECT[0], made_of=(f"north.{table.schema}.t.city",))
    assert found.path == (("north", table.schema, "t", "mobile"),)


@pytest.mark.parametrize("text", ["north.{s}.t.mobil", "mobile", "north.t.mobile"])
def test_declared_column_must_exist(origin: Any, table: Any, text: str) -> None:
    with pytest.raises(ConfigError, match="made_of"):
        origin(COMPUTED[0], made_of=(text.replace("{s}", table.schema),))


def sources(scratch: Any, **declared: Any) -> Any:
    mapping = TableMapping(
        **{"source": f"north.{scratch.schema}.t", "target": "south.public.t", "key": ("id",)}
        | {"conflict": source_wins(), "columns": (Column("id"), Column("copied"))}
        | declared
    )
    return read_origins(mapping, {"north": scratch.dsn}).sources


def test_table_column_is_its_own_origin(table: Any) -> None:
    assert sources(table) == {}


def test_view_as_source_is_followed(table: Any) -> None:
    create_view(table, "id, mobile AS copied")
    (copied,) = sources(table, source=f"north.{table.schema}.v")["copied"]
    assert [name.column for name in copied.path] == ["copied", "mobile"]


def test_batch_query_is_followed(table: Any) -> None:
    select = f"SELECT id, mobile AS copied, count(*) AS n FROM {table.schema}.t GROUP BY 1, 2"
    query = Query(select=select, made_of={"n": (f"north.{table.schema}.t.id",)})
    found = sources(table, query=query, streaming=False)
    names = {
        name: [str(origin.name.column) for origin in origins] for name, origins in found.items()
    }
    assert names == {"id": ["id"], "copied": ["mobile"], "n": ["id"]}
    assert not any(origin.computed for origins in found.values() for origin in origins)
    (undeclared,) = sources(table, query=Query(select=select), streaming=False)["n"]
    assert "column 'n' of the mapping's query is computed" in undeclared.computed


def test_privilege_on_some_columns_is_enough(table: Any) -> None:
    table.admin.execute(f"REVOKE ALL ON {table.schema}.t FROM sink_writer")
    table.admin.execute(f"GRANT SELECT (id) ON {table.schema}.t TO sink_writer")
    assert sources(table) == {}
