"""The comparison of source and target after a run, and a run that could compare nothing."""

from collections import Counter
from typing import Any

import pytest

from sink_runner.batch.checks import FieldCheck
from sink_runner.batch.report import Report
from sink_runner.errors import RetriableError

PEOPLE = """
INSERT INTO golden_records (gr_id, full_name, status, created_at, updated_at)
SELECT md5(n::text)::uuid, 'Person ' || n, 'active', date '2020-01-01', date '2020-01-01' + n
FROM generate_series(%s::int, %s::int) n
"""
PLUGIN = """
from sink_runner.plugin import Column, TableMapping, hookimpl, source_wins

@hookimpl
def sink_mapping():
    return TableMapping(
        source="smart_warehouse.public.counted", target="smart_citizen.public.counted",
        key=({key!r},), conflict=source_wins(), columns=(Column("id"), Column("n")),
    )
"""
GRANT = "GRANT SELECT, INSERT, UPDATE, DELETE ON counted TO sink_writer, sink_reader"


def install_counted(pair, site, source: str, target: str, key: str = "id") -> None:
    """Install a mapping between tables `counted` with these column definitions."""
    for database, columns in ((pair.warehouse, source), (pair.citizen, target)):
        database.execute(f"CREATE TABLE counted ({columns})".encode())
        database.execute(GRANT.encode())
    pair.warehouse.execute("ALTER PUBLICATION sink_publication ADD TABLE counted")
    site.plugin("counted", PLUGIN.format(key=key))


@pytest.mark.postgres
def test_run_after_failed_check_checks_again(pair, monkeypatch) -> None:
    """The next run has nothing left to read, but must still compare the rows."""
    pair.warehouse.execute(PEOPLE, (1, 20))
    original = FieldCheck.run

    def fail(*_: Any) -> Any:
        raise RetriableError("the target went away")

    monkeypatch.setattr(FieldCheck, "run", fail)
    with pytest.raises(RetriableError):
        pair.run("golden-records", full=True)
    monkeypatch.setattr(FieldCheck, "run", original)
    pair.citizen.execute("ALTER TABLE profile_data DISABLE TRIGGER USER")
    pair.citizen.execute("UPDATE profile_data SET full_name = 'Another'")
    report = pair.run("golden-records", full=True)
    assert report.checks["fields"]["compared"] == 20
    assert report.checks["fields"]["different"] == 20


@pytest.mark.parametrize(
    ("fields", "carried", "is_good"),
    [
        ({"compared": 0, "different": 0, "columns": []}, 3, False),
        ({"compared": 0, "different": 0, "columns": []}, 0, True),
        ({"compared": 3, "different": 0, "columns": []}, 3, True),
        (None, 3, True),
    ],
    ids=["compared nothing", "nothing to compare", "compared", "a plugin decides"],
)
def test_run_fails_if_check_compared_nothing(fields, carried: int, is_good: bool) -> None:  # noqa: FBT001 - a parameter of the test
    checks = {} if fields is None else {"fields": fields}
    counts = Counter(read=carried, carried=carried)
    report = Report(mapping="m", mode="full", dry_run=False, counts=counts, checks=checks)
    assert report.is_good(0) is is_good
    assert any("NOT CHECKED" in line for line in report.lines()) is not is_good


@pytest.mark.postgres
def test_row_refused_at_commit_is_dead_letter(pair, site) -> None:
    target = "id int PRIMARY KEY, n int UNIQUE DEFERRABLE INITIALLY DEFERRED"
    install_counted(pair, site, "id int PRIMARY KEY, n int", target)
    pair.warehouse.execute("INSERT INTO counted SELECT n, n % 9 FROM generate_series(1, 10) n")
    for _ in range(2):
        report = pair.run("counted", full=True)
        assert report.counts["carried"] + report.counts["failed"] + report.counts["parked"] == 10
        assert report.counts["failed"] + report.counts["parked"] > 0
        assert report.checks["fields"]["compared"] == 9
    ((rows,),) = pair.citizen.execute("SELECT count(*) FROM counted").fetchall()
    assert rows == 9


@pytest.mark.postgres
@pytest.mark.parametrize("rows", [6, 7, 8, 30, 120])
def test_every_deleted_row_is_removed(pair, site, rows: int) -> None:
    """Keys are read in pages in numeric order, not in the order of their text."""
    install_counted(pair, site, "id int PRIMARY KEY, n int", "id int PRIMARY KEY, n int")
    pair.warehouse.execute("INSERT INTO counted SELECT n, n FROM generate_series(1, %s) n", (rows,))
    pair.run("counted", full=True)
    pair.warehouse.execute("DELETE FROM counted WHERE id > 1")
    assert pair.run("counted", full=True).counts["removed"] == rows - 1
    assert pair.citizen.execute("SELECT id FROM counted").fetchall() == [(1,)]


@pytest.mark.postgres
def test_rows_are_read_in_order_of_index(pair, site) -> None:
    """ORDER BY (n, id) cannot use an index on (id, n) backwards: it would sort the table."""
    install_counted(pair, site, "n int, id int, PRIMARY KEY (n, id)", "id int PRIMARY KEY, n int")
    pair.warehouse.execute(
        "INSERT INTO counted (id, n) SELECT n, 1000 - n FROM generate_series(1, 30) n"
    )
    report = pair.run("counted", full=True)
    assert report.counts["written"] == 30
    last_keys = pair.citizen.execute("SELECT last_key FROM sink.batch_run").fetchall()
    assert last_keys == [(["999", "1"],)]
