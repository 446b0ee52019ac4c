"""The generated reference of the control tables matches a migrated database."""

import pytest
from reference_operation import tables

pytestmark = pytest.mark.postgres

_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'sink'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND a.attnum > 0 AND NOT a.attisdropped
"""
_CATALOG_NAMES = {
    "bool": "boolean",
    "int": "integer",
    "bigserial": "bigint",
    "float8": "double precision",
    "char(5)": "character(5)",
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
}


def test_reference_has_every_column_of_the_tables(scratch) -> None:
    migrated = set(scratch.admin.execute(_COLUMNS).fetchall())
    documented = {
        (table, column.name, _CATALOG_NAMES.get(column.type, column.type))
        for table, columns in tables().items()
        for column in columns
    }
    assert documented == {row for row in migrated if not row[0].startswith("candidates_")}
