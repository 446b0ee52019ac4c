"""A repair writes only damaged rows, and keeps what the mapping must not change."""

import pytest

from sink_runner.batch.chunk_writer import ChunkWriter

from .test_comparing import count_differences, people
from .test_in_flight import OFFSET

pytestmark = pytest.mark.postgres
__all__ = ["people"]

TARGET = "profile_data"
ORIGIN = """
SELECT roname FROM profile_data p, pg_xact_commit_timestamp_origin(p.xmin) c
JOIN pg_replication_origin o ON o.roident = c.roident WHERE full_name = 'Person 3'
"""
ROWS = "SELECT record_id, xmin::text FROM profile_data"
EXTRA = """
INSERT INTO profile_data (record_id, family_id, full_name, source_updated_at)
VALUES (gen_random_uuid(), gen_random_uuid(), 'Stranger', '2020-01-01')
"""


def damage_rows(pair) -> None:
    pair.citizen.execute("DELETE FROM profile_data WHERE full_name = 'Person 3'")
    pair.citizen.execute("UPDATE profile_data SET city = 'Elsewhere' WHERE full_name = 'Person 7'")
    pair.citizen.execute(EXTRA)


def rows(pair) -> dict:
    return dict(pair.citizen.execute(ROWS).fetchall())


def test_repair_touches_damaged_rows_only(people) -> None:
    before = rows(people)
    damage_rows(people)
    report = people.reconcile("golden-records", repair=True)
    assert count_differences(report) == {"missing": 1, "different": 1, "extra": 1}
    assert (report.outcome, report.counts["repaired"]) == ("equal", 3)
    after = rows(people)
    assert after.keys() == before.keys()
    changed = {key for key in after if after[key] != before[key]}
    assert len(changed) == 2
    again = people.reconcile("golden-records")
    assert (again.outcome, count_differences(again)) == ("equal", {})
    masked = people.citizen.execute("SELECT jan_aadhaar FROM profile_data").fetchall()
    assert all(number.startswith("****-****-") for (number,) in masked)


def test_repair_is_audited(people) -> None:
    damage_rows(people)
    count = "SELECT count(*) FROM sink.audit_log"
    (before,) = people.citizen.execute(count).fetchone()
    people.reconcile("golden-records", repair=True)
    (after,) = people.citizen.execute(count).fetchone()
    assert after == before + 2


def test_repair_has_origin_of_its_mapping(people) -> None:
    """So the loop guard of a mapping in the other direction recognizes it as an echo."""
    damage_rows(people)
    people.reconcile("golden-records", repair=True)
    (origin,) = people.citizen.execute(ORIGIN).fetchone()
    assert origin.startswith("sink/golden-records/")


def test_dry_run_writes_nothing(people) -> None:
    damage_rows(people)
    before = rows(people)
    report = people.reconcile("golden-records", repair=True, dry_run=True)
    assert (report.outcome, report.counts["repaired"]) == ("different", 3)
    assert rows(people) == before
    assert "would be repaired 3" in "\n".join(report.lines())
    assert people.reconcile("golden-records").differences == 3


def test_reconciliation_without_repair_writes_nothing(people) -> None:
    damage_rows(people)
    before = rows(people)
    assert people.reconcile("golden-records").differences == 3
    assert rows(people) == before


def test_newer_target_row_is_not_repaired(people) -> None:
    """The conflict strategy keeps the later version, so the repair cannot replace it."""
    people.citizen.execute(
        "UPDATE profile_data SET city = 'Elsewhere', source_updated_at = '2030-01-01' "
        "WHERE full_name = 'Person 7'"
    )
    report = people.reconcile("golden-records", repair=True)
    assert (report.outcome, report.counts["repaired"]) == ("different", 0)
    assert any("later version" in note for note in report.notes)


def test_row_that_filter_removes_is_removed(people) -> None:
    people.warehouse.execute(
        "UPDATE golden_records SET status = 'merged' WHERE full_name = 'Person 7'"
    )
    report = people.reconcile("golden-records", repair=True)
    assert (report.counts["extra"], report.outcome) == (1, "equal")
    assert len(rows(people)) == 29


def test_event_applied_during_repair_is_kept(people, monkeypatch) -> None:
    """The event has the version of the row that the repair has read, and was applied after that."""
    write = ChunkWriter.write

    def apply_event(*arguments, **options):
        for database, table in ((people.warehouse, "golden_records"), (people.citizen, TARGET)):
            column = "city_village" if table != TARGET else "city"
            database.execute(f"UPDATE {table} SET {column} = 'Later' WHERE full_name = 'Person 7'")
        people.citizen.execute(OFFSET, (5,))
        return write(*arguments, **options)

    damage_rows(people)
    people.warehouse.execute("ALTER TABLE golden_records DISABLE TRIGGER USER")
    monkeypatch.setattr(ChunkWriter, "write", apply_event)
    people.reconcile("golden-records", repair=True)
    find = "SELECT city FROM profile_data WHERE full_name = 'Person 7'"
    assert people.citizen.execute(find).fetchone() == ("Later",)
