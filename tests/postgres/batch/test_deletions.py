"""Which target rows a full run removes, keeps or marks."""

import os
import signal
import threading
import time

import psycopg
import pytest

from sink_runner.writer.key_hashing import KeyText

pytestmark = pytest.mark.postgres

PEOPLE = """
INSERT INTO golden_records (gr_id, full_name, status, created_at, updated_at)
SELECT md5(n::text)::uuid, 'Person ' || n, 'active', date '2020-01-01', date '2020-01-01' + n
FROM generate_series(%s::int, %s::int) n
"""
# A plugin that runs a statement in each database after each chunk.
MEANWHILE = """
import psycopg
from sink_runner.plugin import hookimpl

@hookimpl
def sink_batch_committed(changes):
    with psycopg.connect({dsn!r}, autocommit=True) as source, \\
         psycopg.connect({target_dsn!r}, autocommit=True) as target:
        source.execute({source_sql!r})
        target.execute({target_sql!r})
"""

# A plugin that changes the keys of rows.
SWAPPER = """
from uuid import UUID
from sink_runner.plugin import hookimpl

@hookimpl
def sink_map(row):
    row["record_id"] = UUID(int=UUID(str(row["record_id"])).int ^ 1)
    return row
"""
CHANGE = "UPDATE golden_records SET {} = '{}' WHERE full_name = '{}'"


def people(pair) -> set[str]:
    return {name for (name,) in pair.citizen.execute("SELECT full_name FROM profile_data")}


def last_person(pair) -> str:
    """Return the name of the row that a run reads last."""
    query = "SELECT full_name FROM golden_records ORDER BY gr_id DESC LIMIT 1"
    (name,) = pair.warehouse.execute(query).fetchone()
    return name


def tombstones(pair) -> int:
    query = "SELECT count(*) FROM sink.row_version WHERE deleted_at IS NOT NULL"
    (count,) = pair.citizen.execute(query).fetchone()
    return count


def test_missing_rows_are_removed_and_new_stay(pair) -> None:
    pair.warehouse.execute(PEOPLE, (1, 20))
    pair.run("golden-records", full=True)
    pair.warehouse.execute("DELETE FROM golden_records WHERE full_name IN ('Person 3', 'Person 9')")
    assert pair.run("golden-records").counts["gone"] == 0
    report = pair.run("golden-records", full=True)
    assert (report.counts["gone"], report.counts["removed"]) == (2, 2)
    assert people(pair) == {f"Person {n}" for n in range(1, 21)} - {"Person 3", "Person 9"}
    assert tombstones(pair) == 2


def test_run_stopped_during_removals_is_resumed(pair) -> None:
    """The next run continues there and removes the other rows."""
    pair.warehouse.execute(PEOPLE, (1, 20))
    pair.run("golden-records", full=True)
    pair.warehouse.execute("DELETE FROM golden_records WHERE full_name <> 'Person 1'")
    info = pair.citizen.info
    with psycopg.connect(info.dsn, password=info.password) as holder:
        holder.execute("SELECT FROM profile_data WHERE full_name <> 'Person 1' FOR UPDATE")
        stopping = threading.Thread(target=stop_once_blocked, args=(pair, holder))
        stopping.start()
        assert pair.run("golden-records", full=True).interrupted
        stopping.join()
    assert len(people(pair)) > 1
    assert pair.run("golden-records", full=True).counts["gone"] == 19
    assert people(pair) == {"Person 1"}


def stop_once_blocked(pair, holder) -> None:
    """Send SIGTERM once a session waits for the holder's row locks; then release them."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
    deadline = time.monotonic() + 30
    while pair.warehouse.execute(query, (holder.info.backend_pid,)).fetchone() == (0,):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.3)
    holder.rollback()


def test_nothing_is_removed_if_plugin_changes_keys(pair, site) -> None:
    """Changed keys are not in the source, so a missing key does not mean a deleted row."""
    pair.warehouse.execute(PEOPLE, (1, 9))
    site.plugin("swapper", SWAPPER)
    report = pair.run("golden-records", "swapper", full=True)
    assert any("no missing row is removed" in note for note in report.notes)
    assert len(people(pair)) == 9
    # Without rows, the run cannot see that the plugin changes keys.
    pair.warehouse.execute("DELETE FROM golden_records")
    assert pair.run("golden-records", "swapper", full=True).counts["removed"] == 0
    assert len(people(pair)) == 9


def test_row_removed_by_filter_leaves_target(pair) -> None:
    pair.warehouse.execute(PEOPLE, (1, 5))
    pair.run("golden-records")
    pair.warehouse.execute(CHANGE.format("status", "merged", "Person 3"))
    report = pair.run("golden-records")
    assert (report.counts["retired"], report.counts["removed"]) == (1, 1)
    assert "Person 3" not in people(pair)


def test_dry_run_reports_and_changes_nothing(pair) -> None:
    pair.warehouse.execute(PEOPLE, (1, 5))
    pair.run("golden-records")
    pair.warehouse.execute("DELETE FROM golden_records WHERE full_name = 'Person 3'")
    pair.warehouse.execute(CHANGE.format("status", "merged", "Person 4"))
    pair.warehouse.execute(CHANGE.format("city_village", "K", "Person 5"))
    pair.warehouse.execute(PEOPLE, (6, 6))
    report = pair.run("golden-records", full=True, dry_run=True)
    counts = report.counts
    assert (counts["written"], counts["gone"], counts["removed"]) == (2, 1, 2)
    assert people(pair) == {f"Person {n}" for n in range(1, 6)}
    assert tombstones(pair) == 0
    (runs,) = pair.citizen.execute("SELECT count(*) FROM sink.batch_run").fetchone()
    assert runs == 1
    assert "would be written 2" in "\n".join(report.lines())


def test_row_written_after_snapshot_is_kept(pair, site) -> None:
    """An event has written it to the target, and the run's snapshot does not contain it."""
    pair.warehouse.execute(PEOPLE, (1, 5))
    source_sql = "INSERT INTO golden_records (gr_id, full_name) VALUES (md5('x')::uuid, 'Late')"
    target_sql = (
        "INSERT INTO profile_data (record_id, family_id, full_name, source_updated_at) "
        "VALUES (md5('x')::uuid, md5('x')::uuid, 'Late', now())"
    )
    meanwhile(pair, site, source_sql, target_sql)
    report = pair.run("golden-records", "meanwhile", full=True)
    assert report.counts["gone"] == 0
    assert "Late" in people(pair)


@pytest.mark.parametrize(("status", "is_kept"), [("active", True), ("merged", False)])
def test_row_active_again_after_snapshot_is_kept(pair, site, status, is_kept) -> None:
    """The run reads the inactive version after the event that activated the row again."""
    pair.warehouse.execute(PEOPLE, (1, 14))
    pair.run("golden-records")
    last = last_person(pair)
    pair.warehouse.execute(CHANGE.format("status", "merged", last))
    meanwhile(pair, site, CHANGE.format("status", status, last))
    pair.run("golden-records", "meanwhile", full=True)
    assert (last in people(pair)) == is_kept


def test_older_read_never_restores_deleted_row(pair, site, encryptor) -> None:
    """The delete event is applied between the snapshot and the row's chunk."""
    pair.run("golden-records")  # creates the runner's own tables
    pair.warehouse.execute(PEOPLE, (1, 14))
    last = last_person(pair)
    KeyText(unmasked=False, encryptor=encryptor).prepare(pair.citizen)
    key = KeyText.sql(f"jsonb_build_array(md5(substr('{last}', 8))::uuid)")
    (hashed,) = pair.citizen.execute(f"SELECT {key}".encode()).fetchone()
    target_sql = (
        "INSERT INTO sink.row_version "
        f"VALUES ('golden-records', '{hashed}', 9000000000000000, now()) ON CONFLICT DO NOTHING"
    )
    meanwhile(pair, site, f"DELETE FROM golden_records WHERE full_name = '{last}'", target_sql)
    pair.run("golden-records", "meanwhile")
    assert people(pair) == {f"Person {n}" for n in range(1, 15)} - {last}


def test_older_event_never_restores_row_removed_by_run(pair) -> None:
    """The tombstone has the log position of the run's snapshot."""
    pair.warehouse.execute(PEOPLE, (1, 3))
    pair.run("golden-records", full=True)
    pair.warehouse.execute("DELETE FROM golden_records WHERE full_name = 'Person 3'")
    (before,) = pair.warehouse.execute(
        "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::int8"
    ).fetchone()
    pair.run("golden-records", full=True)
    (position,) = pair.citizen.execute("SELECT position FROM sink.row_version").fetchone()
    assert position >= before


def test_deleted_snapshot_removes_hints_of_family(pair) -> None:
    """The candidates are removed, and their derived rows are derived again."""
    pair.warehouse.execute(
        "INSERT INTO scheme_master (scheme_code, scheme_name, category) VALUES "
        "('A', 'A', 'HEALTH'), ('B', 'B', 'HEALTH')"
    )
    pair.warehouse.execute(
        "INSERT INTO eligibility.eligibility_snapshots (family_id, scheme_code, evaluation_status, "
        "eligibility_score, evaluation_timestamp) "
        "SELECT md5(f::text)::uuid, code, 'RULE_ELIGIBLE', 0.5, now() AT TIME ZONE 'UTC' "
        "FROM generate_series(1, 9) f, unnest(ARRAY['A', 'B']) code"
    )
    # A hint without a snapshot, as after a manual insert or in a restored target.
    pair.citizen.execute(
        "INSERT INTO eligibility_hints (family_id, scheme_code, eligibility_status, updated_at) "
        "VALUES (md5('none')::uuid, 'A', 'RULE_ELIGIBLE', now())"
    )
    pair.run("eligibility-snapshots", full=True)
    hints = "SELECT count(*), count(DISTINCT family_id) FROM eligibility_hints"
    assert pair.citizen.execute(hints).fetchone() == (18, 9)
    pair.warehouse.execute(
        "DELETE FROM eligibility.eligibility_snapshots WHERE family_id = md5('1')::uuid "
        "OR scheme_code = 'B'"
    )
    report = pair.run("eligibility-snapshots", full=True)
    assert report.counts["gone"] == 10
    assert pair.citizen.execute(hints).fetchone() == (8, 8)
    (remaining,) = pair.citizen.execute(
        "SELECT count(*) FROM sink.candidates_eligibility_snapshots"
    ).fetchone()
    assert remaining == 8


def meanwhile(pair, site, source_sql: str, target_sql: str = "SELECT 1") -> None:
    """Install a plugin that runs these statements after each chunk of the next run."""
    databases = pair.names["smart_warehouse"], pair.names["smart_citizen"]
    dsn, target_dsn = (pair.postgres.dsn(name) for name in databases)
    statements = {"source_sql": source_sql, "target_sql": target_sql}
    site.plugin("meanwhile", MEANWHILE.format(dsn=dsn, target_dsn=target_dsn, **statements))


NEIGHBOUR = """
from dataclasses import replace
import sink_golden_records
from sink_runner.plugin import hookimpl

@hookimpl
def sink_mapping():
    return replace(sink_golden_records.sink_mapping(), source="smart_warehouse.public.others")
"""


def test_rows_of_another_mapping_are_kept(pair, site) -> None:
    """They look the same as rows that were deleted from the source."""
    site.plugin("neighbour", NEIGHBOUR)
    pair.warehouse.execute(PEOPLE, (1, 3))
    pair.run("golden-records", full=True)
    pair.warehouse.execute("DELETE FROM golden_records WHERE full_name = 'Person 3'")
    report = pair.run("golden-records", "neighbour", full=True)
    assert (report.counts["gone"], len(people(pair))) == (0, 3)
    assert ": neighbour may have written it" in report.notes[-1]
