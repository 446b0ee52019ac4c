"""A reconciliation reports missing, extra and different rows, and no equal ones."""

from pathlib import Path

import pytest

from sink_runner.reconcile.suspect import Kind

from ..batch.conftest import KEY, ROOT

pytestmark = pytest.mark.postgres

PEOPLE = """
INSERT INTO golden_records (gr_id, jan_aadhaar, full_name, status, created_at, updated_at)
SELECT md5(n::text)::uuid, lpad(n::text, 12, '7'), 'Person ' || n, 'active', date '2020-01-01',
  date '2020-01-01' + n
FROM generate_series(%s::int, %s::int) n
"""
DISABLE_TRIGGERS = "ALTER TABLE profile_data DISABLE TRIGGER USER"


@pytest.fixture
def people(pair):
    """Thirty masked people in both databases."""
    pair.warehouse.execute(PEOPLE, (1, 30))
    pair.run("golden-records", full=True)
    pair.citizen.execute(DISABLE_TRIGGERS)
    return pair


def write_config(people, folder: Path) -> Path:
    """Write a configuration for commands on these databases; Kafka does not answer."""
    dsns = "".join(
        f'[databases.{name}]\ndsn = "{people.postgres.dsn(actual, "sink_writer")}"\n'
        f'reader_dsn = "{people.postgres.dsn(actual, "sink_reader")}"\n'
        for name, actual in people.names.items()
    )
    config = folder / "sink-runner.toml"
    config.write_text(
        '[kafka]\nbootstrap = "127.0.0.1:1"\n[registry]\nurl = "http://127.0.0.1:1"\n'
        f'[policies]\ndirectory = "{ROOT / "ranger-policies"}"\n{dsns}'
        f'[dead_letters]\nkey = "{KEY}"\nkey_id = "test"\n[batch]\nsettle_seconds = 0.3\n'
        '[plugins]\nenabled = ["golden-records"]\n'
    )
    return config


def count_differences(report) -> dict[str, int]:
    return {kind: report.counts[kind] for kind in Kind if report.counts[kind]}


def test_masked_rows_are_equal(people) -> None:
    report = people.reconcile("golden-records")
    assert report.outcome == "equal"
    assert report.counts["read"] == report.counts["keys"] == 30
    assert count_differences(report) == {}
    assert report.verified_through is not None


def test_missing_row_is_found(people) -> None:
    people.citizen.execute("DELETE FROM profile_data WHERE full_name = 'Person 7'")
    report = people.reconcile("golden-records")
    assert (report.outcome, count_differences(report)) == ("different", {"missing": 1})


def test_different_row_names_its_columns(people) -> None:
    people.citizen.execute(
        "UPDATE profile_data SET city = 'Elsewhere', jan_aadhaar = '****-****-0000' "
        "WHERE full_name = 'Person 7'"
    )
    report = people.reconcile("golden-records")
    assert count_differences(report) == {"different": 1}
    assert report.columns == {"city": 1, "jan_aadhaar": 1}
    assert not {"Elsewhere", "0000"} & {*report.json().split(), *"".join(report.lines()).split()}


@pytest.mark.parametrize("key", ["0" * 32, "f" * 32, "5" * 32], ids=["first", "last", "between"])
def test_extra_row_is_found_at_any_key(people, key: str) -> None:
    people.citizen.execute(
        "INSERT INTO profile_data (record_id, family_id, full_name, source_updated_at) "
        "VALUES (%s::uuid, gen_random_uuid(), 'Stranger', '2020-01-01')",
        (key,),
    )
    assert count_differences(people.reconcile("golden-records")) == {"extra": 1}


def test_row_that_filter_removes_is_extra(people) -> None:
    people.warehouse.execute(
        "UPDATE golden_records SET status = 'merged' WHERE full_name = 'Person 7'"
    )
    assert count_differences(people.reconcile("golden-records")) == {"extra": 1}
