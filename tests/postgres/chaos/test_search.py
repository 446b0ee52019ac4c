"""The search finds values in rows."""

import pytest

from ...chaos.search import Search

SECRET = "991122334455"


@pytest.mark.postgres
def test_row_is_found_except_where_it_belongs(scratch) -> None:
    planted = scratch.table("id int, note bytea", 'quo"te')
    belongs = scratch.table("id int, note text", "belongs")
    for table in (planted, belongs):
        scratch.admin.execute(f"INSERT INTO {table.sql_name} VALUES (1, '{SECRET}')".encode())
    search = Search({"number": SECRET})
    found = search.in_database(scratch.admin, {f"{scratch.schema}.belongs"})
    assert {(one.where.split()[1], one.form) for one in found} == {
        (f'{scratch.schema}.quo"te', "hex")
    }
