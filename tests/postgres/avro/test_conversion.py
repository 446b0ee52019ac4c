"""PostgreSQL reads Debezium's spellings of a value."""

import psycopg
import pytest

from sink_runner.avro.conversion import to_postgres
from sink_runner.postgres.declared_types import declared_type

from ...unit.avro.test_conversion import SPELLINGS


@pytest.mark.postgres
def test_postgresql_reads_every_spelling_as_value_it_was(postgres):
    found = []
    with psycopg.connect(postgres.dsn("smart_warehouse", "admin")) as connection:
        connection.execute("SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET bytea_output = 'hex'")
        for kind, type_, value, _ in SPELLINGS:
            convert = to_postgres(kind, declared_type(type_))
            text = convert(value) if convert else value
            query = f"SELECT CAST(%s::text AS {type_})::text"
            found.append(connection.execute(query, (text,)).fetchone()[0])
    assert found == [expected for _, _, _, expected in SPELLINGS]
