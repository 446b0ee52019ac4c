"""A range is read again unless its digest is unchanged since its rows were equal."""

import threading
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sink_runner.reconcile import chunks
from sink_runner.reconcile.suspect import Kind

from .conftest import reconcile
from .test_comparing import PEOPLE, people

pytestmark = pytest.mark.postgres
__all__ = ["people"]

EXTRA = """
INSERT INTO profile_data (record_id, family_id, full_name, source_updated_at)
VALUES ('ffffffff-ffff-ffff-ffff-ffffffffffff', gen_random_uuid(), 'Stranger', '2020-01-01')
"""
DAMAGE: dict[str, Callable] = {
    "missing": lambda pair, name: pair.citizen.execute(
        "DELETE FROM profile_data WHERE full_name = %s", (name,)
    ),
    "different": lambda pair, name: pair.citizen.execute(
        "UPDATE profile_data SET city = 'Elsewhere' WHERE full_name = %s", (name,)
    ),
    "extra": lambda pair, name: pair.warehouse.execute(
        "DELETE FROM golden_records WHERE full_name = %s", (name,)
    ),
}


@pytest.fixture
def small_ranges(monkeypatch) -> None:
    monkeypatch.setattr(chunks, "_MIN_ROWS", 4)
    monkeypatch.setattr(chunks, "_MAX_ROWS", 4)


@pytest.mark.usefixtures("small_ranges")
def test_unchanged_ranges_are_not_read(people) -> None:
    people.reconcile("golden-records")
    again = people.reconcile("golden-records", full=False)
    assert (again.counts["read"], again.counts["unchanged"]) == (0, 30)
    assert again.outcome == "equal"
    assert again.verified_through is not None
    people.warehouse.execute(PEOPLE, (31, 31))
    people.run("golden-records")
    report = people.reconcile("golden-records", full=False)
    assert 1 <= report.counts["read"] <= 5
    assert report.counts["read"] + report.counts["unchanged"] == 31


@pytest.mark.usefixtures("small_ranges")
def test_damage_is_found_among_unchanged_ranges(people) -> None:
    """Damaged rows are found and repaired, however they are spread over the ranges."""
    people.reconcile("golden-records")
    numbers = st.dictionaries(st.integers(1, 30), st.sampled_from([*DAMAGE]), max_size=6)
    with people.parts("golden-records", full=False, repair=True) as (parts, options):

        @settings(max_examples=12, suppress_health_check=list(HealthCheck))
        @given(numbers)
        def check(damaged) -> None:
            for number, kind in damaged.items():
                DAMAGE[kind](people, f"Person {number}")
            report = reconcile(parts, options)
            expected = [*damaged.values()]
            for kind in (Kind.MISSING, Kind.EXTRA, Kind.DIFFERENT):
                assert report.counts[kind] == expected.count(kind), kind
            assert report.outcome == "equal"
            assert report.counts["read"] <= 5 * (len(damaged) + 16)
            for number in (number for number, kind in damaged.items() if kind == "extra"):
                people.warehouse.execute(PEOPLE, (number, number))
            people.run("golden-records", full=True)

        check()


@pytest.mark.usefixtures("small_ranges")
def test_row_beyond_the_largest_key_is_found(people) -> None:
    people.reconcile("golden-records")
    people.citizen.execute(EXTRA)
    assert people.reconcile("golden-records", full=False).counts["extra"] == 1


def test_full_run_reads_unchanged_ranges(people) -> None:
    people.reconcile("golden-records")
    assert people.reconcile("golden-records").counts["read"] == 30


def test_digests_of_another_version_are_ignored(people) -> None:
    """The version covers the columns, the plugins and the policies."""
    people.reconcile("golden-records")
    people.citizen.execute("UPDATE sink.reconcile_digest SET version = 'another'")
    assert people.reconcile("golden-records", full=False).counts["read"] == 30


def test_stopped_run_keeps_its_ranges(people, monkeypatch, small_ranges) -> None:
    stop = threading.Event()
    with people.parts("golden-records", full=False, stop=stop) as (parts, options):
        compare = parts.comparison.compare
        monkeypatch.setattr(
            parts.comparison, "compare", lambda writes: stop.set() or compare(writes)
        )
        assert reconcile(parts, options).outcome == "interrupted"
    report = people.reconcile("golden-records", full=False)
    assert (report.counts["read"], report.counts["unchanged"]) == (26, 4)
