"""The routes match the tables of smart_warehouse."""

import psycopg
import pytest
from sink_citizen_api import sink_api

from sink_runner.plugin import EventRoute, QueryRoute, Table

ROUTES = sink_api().routes
EVENTS = [route for route in ROUTES if isinstance(route, EventRoute)]
QUERIES = [route for route in ROUTES if isinstance(route, QueryRoute)]
KINDS = {
    "integer": "int",
    "text": "text",
    "character varying": "text",
    "numeric": "decimal",
    "uuid": "uuid",
    "jsonb": "json",
    "timestamp without time zone": "timestamp",
}
UNKNOWN_ID = "0b7c9d54-4a58-4d0e-8a39-8f3f1f0d2c55"
COLUMNS = """
SELECT column_name, data_type, numeric_scale
FROM information_schema.columns WHERE table_schema = %s AND table_name = %s
ORDER BY ordinal_position
"""


@pytest.mark.postgres
@pytest.mark.parametrize("route", EVENTS, ids=lambda route: route.name)
def test_event_columns_match_table(postgres, route):
    table = Table.parse(route.table)
    with psycopg.connect(postgres.dsn(table.database)) as connection:
        found = connection.execute(COLUMNS, (table.schema, table.name)).fetchall()
    declared = {column.name: column for column in route.columns}
    columns = [row for row in found if row[0] in declared]
    assert [row[0] for row in columns] == [*declared]
    for name, kind, scale in columns:
        assert declared[name].kind == KINDS[kind]
        assert declared[name].scale == (scale if kind == "numeric" else None)


@pytest.mark.postgres
@pytest.mark.parametrize("route", QUERIES, ids=lambda route: route.name)
def test_reader_may_run_query(postgres, route):
    values = {parameter.name: UNKNOWN_ID for parameter in route.parameters}
    with psycopg.connect(postgres.dsn("smart_warehouse", "sink_reader")) as connection:
        assert connection.execute(route.sql.encode(), values).fetchall() == []


@pytest.mark.parametrize("route", EVENTS, ids=lambda route: route.name)
def test_every_field_but_status_is_a_column(route):
    columns = {column.name for column in route.columns}
    assert set(route.model.model_fields) - columns <= {"status"}
