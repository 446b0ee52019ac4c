"""Flow 3 as a batch: each family's latest profile, by hourly and by full runs."""

from typing import Any
from uuid import uuid4

import pytest

pytestmark = pytest.mark.postgres

SUMMARY = "SELECT family_id::text, region, income_category FROM profile_summary"


def person(pair: Any, family: str | None, region: str, day: int) -> str:
    """Insert a golden record with a profile; the head of a family has no family_id."""
    record = str(uuid4())
    pair.warehouse.execute("INSERT INTO golden_records (gr_id) VALUES (%s)", (record,))
    pair.warehouse.execute(
        "INSERT INTO profile_360 (gr_id, family_id, profile_data, cluster_id, created_at, "
        "updated_at, inferred_income_band) VALUES (%s, %s, '{}', %s, '2020-01-01', "
        "'2026-01-01'::timestamp + make_interval(days => %s), 'VERY_LOW')",
        (record, family, region, day),
    )
    return record


def summaries(pair: Any) -> dict[str, str]:
    rows = pair.citizen.execute(SUMMARY).fetchall()
    assert all(income == "CONFIDENTIAL" for _, _, income in rows)
    return {family: region for family, region, _ in rows}


def test_full_run_writes_one_summary_per_family(pair) -> None:
    one, two = (person(pair, None, "head", 1) for _ in range(2))
    for day in (3, 2):
        person(pair, one, f"member {day}", day)
    pair.run("profiles", full=True)
    assert summaries(pair) == {one: "member 3", two: "head"}


def test_incremental_run_writes_changed_families(pair) -> None:
    family = person(pair, None, "head", 1)
    pair.run("profiles", full=True)
    person(pair, family, "member", 2)
    report = pair.run("profiles")
    assert report.counts["read"] == 1
    assert summaries(pair) == {family: "member"}


def test_full_run_restores_next_best_profile(pair) -> None:
    family = person(pair, None, "head", 1)
    member, other = person(pair, family, "member", 2), person(pair, None, "other", 1)
    pair.run("profiles", full=True)
    for gone in (member, other):
        pair.warehouse.execute("DELETE FROM profile_360 WHERE gr_id = %s", (gone,))
    pair.run("profiles", full=True)
    assert summaries(pair) == {family: "head"}


def test_no_table_stores_income_band(pair) -> None:
    person(pair, None, "head", 1)
    pair.run("profiles", full=True)
    tables = pair.citizen.execute(
        "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables "
        "WHERE table_schema IN ('public', 'sink') AND table_type = 'BASE TABLE'"
    ).fetchall()
    for (table,) in tables:
        rows = pair.citizen.execute(f"SELECT t::text FROM {table} t".encode()).fetchall()
        assert not [row for (row,) in rows if "VERY_LOW" in row], table


def test_summary_stays_while_a_profile_is_unreadable(pair) -> None:
    """The candidates are lost and one profile fails; its family keeps the earlier summary."""
    pair.warehouse.execute(
        "INSERT INTO golden_records (gr_id) SELECT md5(n::text)::uuid FROM generate_series(1, 3) n"
    )
    pair.warehouse.execute(
        "INSERT INTO profile_360 (gr_id, profile_data, created_at, updated_at) "
        "SELECT gr_id, '{}', '2020-01-01', '2020-01-02' FROM golden_records"
    )
    pair.run("profiles", full=True)
    pair.citizen.execute("DROP TABLE sink.candidates_profiles")
    pair.warehouse.execute(
        "UPDATE profile_360 SET vulnerability_level = 'ODD' WHERE gr_id = md5('1')::uuid"
    )
    report = pair.run("profiles", full=True)
    assert (report.counts["failed"], report.counts["removed"]) == (1, 0)
    assert pair.citizen.execute("SELECT count(*) FROM profile_summary").fetchone() == (3,)
