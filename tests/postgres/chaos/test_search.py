"""The search finds secrets in the rows of tables."""

import pytest

from ...chaos.search import Search

SECRET = "991122334455"


@pytest.mark.postgres
def test_row_is_found_except_in_allowed_table(scratch) -> None:
    planted = scratch.table("id int, note bytea", 'quo"te')
    allowed = scratch.table("id int, note text", "allowed")
    for table in (planted, allowed):
        scratch.admin.execute(f"INSERT INTO {table.sql_name} VALUES (1, '{SECRET}')".encode())
    search = Search({"number": SECRET})
    found = search.find_in_database(scratch.admin, {f"{scratch.schema}.allowed"})
    assert {(finding.place.split()[1], finding.encoding) for finding in found} == {
        (f'{scratch.schema}.quo"te', "hex")
    }
