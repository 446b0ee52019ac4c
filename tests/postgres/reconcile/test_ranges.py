"""For random keys and damage, a reconciliation finds exactly the damaged rows."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sink_runner.reconcile import chunks, session
from sink_runner.reconcile.suspect import Kind

from .conftest import reconcile

pytestmark = pytest.mark.postgres

PLUGIN = """
from sink_runner.plugin import Column, Lookup, Schedule, TableMapping, hookimpl, newest_wins

@hookimpl
def sink_mapping():
    return TableMapping(
        source="smart_warehouse.public.stock", target="smart_citizen.public.stock",
        key=("shelf", "id"), conflict=newest_wins("at"),
        columns=(
            Column("shelf"), Column("id"), Column("at"), Column("n"),
            Column("place", "n", lookup=Lookup(
                "SELECT n::text, size FROM places WHERE n = ANY (%s)", "smart_warehouse")),
        ),
    )
"""
COLUMNS = "shelf text COLLATE {} NOT NULL, id int NOT NULL, at timestamp, n int"
ROW = "INSERT INTO stock (shelf, id, at, n{0}) VALUES (%s, %s, timestamp '2020-01-01' + %s, %s{1})"


@pytest.fixture
def stock(pair, site, monkeypatch):
    """A table whose key the two databases sort differently; ranges have three rows."""
    for database, collation, more in (
        (pair.warehouse, '"und-x-icu"', "PRIMARY KEY (shelf, id)"),
        (pair.citizen, '"C"', "place int, PRIMARY KEY (shelf, id)"),
    ):
        database.execute(f"CREATE TABLE stock ({COLUMNS.format(collation)}, {more})".encode())
        database.execute(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON stock TO sink_writer, sink_reader"
        )
    pair.warehouse.execute("ALTER PUBLICATION sink_publication ADD TABLE stock")
    pair.warehouse.execute(
        "CREATE TABLE places AS SELECT n, n * 100 AS size FROM generate_series(0, 9) n"
    )
    pair.warehouse.execute("GRANT SELECT ON places TO sink_reader")
    site.plugin("stock", PLUGIN)
    monkeypatch.setattr(chunks, "_MIN_ROWS", 3)
    monkeypatch.setattr(chunks, "_MAX_ROWS", 3)
    return pair


def fill(pair, source: dict[Any, int], target: dict[Any, tuple[str, int]]) -> None:
    pair.warehouse.execute("TRUNCATE stock")
    pair.citizen.execute("TRUNCATE stock")
    with pair.warehouse.cursor() as cursor:
        rows = [(*key, "1 day", n) for key, n in source.items()]
        cursor.executemany(ROW.format("", ""), rows)
    with pair.citizen.cursor() as cursor:
        rows = [(*key, age, n, n * 100) for key, (age, n) in target.items()]
        cursor.executemany(ROW.format(", place", ", %s"), rows)


keys = st.tuples(
    st.sampled_from(["", "a", "A", "B", "b", "ä", "Z", "z", "é", "_"]), st.integers(-9, 9)
)
damages = st.sampled_from(["none", "none", "none", "missing", "extra", "different", "later"])


def test_exactly_damaged_rows_are_found(stock) -> None:
    """A later version in the target is a difference, because only the mapping writes the table."""
    with stock.parts("stock") as (parts, options):

        @settings(max_examples=60, suppress_health_check=list(HealthCheck))
        @given(st.dictionaries(keys, damages, max_size=25))
        def check(rows) -> None:
            source = {key: abs(key[1]) for key, damage in rows.items() if damage != "extra"}
            target = {
                key: (
                    "2 days" if damage == "later" else "1 day",
                    abs(key[1]) + (damage == "different") * 10,
                )
                for key, damage in rows.items()
                if damage != "missing"
            }
            fill(stock, source, target)
            report = reconcile(parts, options)
            expected = [*rows.values()]
            assert report.counts["read"] == len(source)
            assert report.counts["keys"] == len(target)
            assert [report.counts[kind] for kind in (Kind.MISSING, Kind.EXTRA, Kind.DIFFERENT)] == [
                expected.count("missing"),
                expected.count("extra"),
                expected.count("different") + expected.count("later"),
            ]
            assert report.is_equal is not bool(report.differences)

        check()


def test_row_after_last_batch_run_waits(stock, site) -> None:
    """The mapping is not streamed, so a later row is copied by the next batch run."""
    nightly = 'streaming=False, schedules=(Schedule("0 0 * * *"),), columns=('
    site.plugin("nightly", PLUGIN.replace("columns=(", nightly, 1))
    fill(stock, {("a", 1): 1, ("a", 2): 2}, {})
    before_first_run = stock.reconcile("nightly", applied=session.make_marker)
    assert (before_first_run.counts["pending"], before_first_run.outcome) == (2, "undecided")
    assert any("no batch run" in note for note in before_first_run.notes)
    stock.run("nightly", full=True)
    stock.warehouse.execute("UPDATE stock SET n = 3, at = '2020-01-03' WHERE id = 1")
    stock.citizen.execute("DELETE FROM stock WHERE id = 2")
    report = stock.reconcile("nightly", applied=session.make_marker)
    assert (report.counts["missing"], report.counts["waiting"]) == (1, 1)
    assert report.differences == 1


def test_extra_rows_need_unchanged_key_columns(stock, site) -> None:
    """With a converted key, missing rows are found, and a note says that extra ones are not."""
    shifted = PLUGIN.replace('Column("id")', 'Column("id", convert=lambda number: number + 100)')
    site.plugin("shifted", shifted)
    fill(stock, {("a", 1): 1, ("a", 2): 2}, {("a", 101): ("1 day", 1), ("x", 9): ("1 day", 9)})
    report = stock.reconcile("shifted")
    assert (report.counts["missing"], report.counts["extra"]) == (1, 0)
    assert any("not made of unchanged source columns" in note for note in report.notes)


def test_incremental_run_reads_changed_rows(stock) -> None:
    """A run with a difference does not move the start of the next; a lookup prevents digests."""
    add = "INSERT INTO stock VALUES ('a', %s, '2020-01-01', 1)"
    fill(stock, {("a", 1): 1, ("a", 2): 2}, {("a", 1): ("1 day", 1), ("a", 2): ("1 day", 2)})
    assert stock.reconcile("stock", full=False).counts["read"] == 2
    stock.warehouse.execute(add, (3,))
    report = stock.reconcile("stock", full=False)
    assert (report.counts["read"], report.counts["missing"]) == (1, 1)
    stock.warehouse.execute(add, (4,))
    report = stock.reconcile("stock", full=False, repair=True)
    assert (report.counts["read"], report.counts["repaired"], report.outcome) == (2, 2, "equal")
    assert stock.reconcile("stock", full=False).counts["read"] == 0
