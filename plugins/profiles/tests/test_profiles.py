"""Flow 3: one summary of each family, from the latest profile of a member."""

import itertools
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from sink_runner.testing import (
    NOW,
    Harness,
    MappingContract,
    Sample,
    TargetHarness,
    create,
    delete,
    snapshot,
    update,
)

POLICIES = Path(__file__).parents[3] / "ranger-policies"
HEAD = "00000000-0000-4000-8000-000000000001"
MEMBER = "00000000-0000-4000-8000-000000000002"
OTHER = "00000000-0000-4000-8000-000000000009"
LATER = NOW + timedelta(minutes=1)
BANDS = ("VERY_LOW", "LOW", "MEDIUM", "HIGH", "UNCERTAIN")


def values(number: int = 1, **changed: Any) -> dict[str, Any]:
    """Return the profile of a member of HEAD's family."""
    return {
        "profile_id": number,
        "gr_id": f"00000000-0000-4000-8000-0000000001{number:02}",
        "family_id": HEAD,
        "inferred_income_band": "VERY_LOW",
        "cluster_id": "C-7",
        "vulnerability_level": "HIGH",
        "under_coverage_indicator": True,
        "created_at": NOW - timedelta(days=900),
        "updated_at": NOW,
        **changed,
    }


def profile(number: int = 1, **changed: Any) -> Sample:
    return create(**values(number, **changed))


class TestContract(MappingContract):
    plugin = "profiles"
    policies = POLICIES
    personal = frozenset({"inferred_income_band"})
    samples = (
        profile(),
        profile(2, family_id=None, inferred_income_band=None),
        update(values(), inferred_income_band="MEDIUM"),
        delete(**values()),
    )


@pytest.fixture
def sink() -> Harness:
    return Harness("profiles", policies=POLICIES)


def test_schedule_is_hourly_and_full_once_daily(sink: Harness) -> None:
    schedules = [(schedule.cron, schedule.full) for schedule in sink.mapping.schedules]
    assert schedules == [("0 * * * *", False), ("30 0 * * *", True)]


@pytest.mark.parametrize("band", [*BANDS, None])
def test_every_band_and_null_are_confidential(sink: Harness, band: str | None) -> None:
    row = sink.send(profile(inferred_income_band=band)).row
    assert row["income_category"] == "CONFIDENTIAL"


def test_internal_columns_of_models_are_not_read(sink: Harness) -> None:
    hidden = {"profile_data", "income_band_confidence", "risk_flags", "cluster_type"}
    assert not hidden & set(sink.mapping.source_columns)


class TestQuality:
    @pytest.mark.parametrize(
        ("changed", "rule"),
        [
            ({"vulnerability_level": "SEVERE"}, "one_of"),
            ({"updated_at": None}, "required"),
            ({"created_at": LATER}, "updated_at not before created_at"),
        ],
    )
    def test_error_names_rule_and_not_value(
        self, sink: Harness, changed: dict[str, Any], rule: str
    ) -> None:
        error = str(sink.send(profile(**changed)).error)
        assert rule in error
        assert "SEVERE" not in error

    @pytest.mark.parametrize("level", ["VERY_HIGH", "HIGH", "MEDIUM", "LOW", "VERY_LOW", None])
    def test_known_vulnerability_passes(self, sink: Harness, level: str | None) -> None:
        assert sink.send(profile(vulnerability_level=level)).row["vulnerability"] == level


@pytest.fixture
def portal(postgres) -> Iterator[TargetHarness]:
    name = postgres.fresh_database(like="smart_citizen")
    harness = TargetHarness(
        "profiles",
        dsn=postgres.dsn(name, role="sink_writer"),
        admin_dsn=postgres.dsn(name),
        policies=POLICIES,
    )
    yield harness
    harness.close()


def read_regions(portal: TargetHarness) -> list[str]:
    return [row["region"] for row in portal.rows("region", order="family_id")]


@pytest.mark.postgres
class TestSummary:
    def test_summary_has_only_permitted_columns(self, portal: TargetHarness) -> None:
        assert portal.send(profile()) == 1
        (row,) = portal.rows()
        assert row["family_id"] == UUID(HEAD)
        assert (row["vulnerability"], row["under_coverage"]) == ("HIGH", True)
        assert (row["region"], row["income_category"]) == ("C-7", "CONFIDENTIAL")
        assert row["source_updated_at"] == NOW
        assert row["synced_at"] is not None
        assert portal.dead() == []

    def test_synced_at_is_time_of_last_write(self, portal: TargetHarness) -> None:
        portal.send(profile())
        (first,) = portal.rows("synced_at")
        portal.send(update(values(), cluster_id="new").at(NOW, 2))
        (second,) = portal.rows("synced_at")
        assert first["synced_at"] < second["synced_at"]

    def test_head_belongs_to_its_own_family(self, portal: TargetHarness) -> None:
        portal.send(profile(1, updated_at=LATER, cluster_id="member"))
        portal.send(profile(2, gr_id=HEAD, family_id=None, cluster_id="head"))
        assert read_regions(portal) == ["member"]
        portal.send(profile(2, gr_id=HEAD, family_id=None, cluster_id="head", updated_at=LATER))
        assert [row["family_id"] for row in portal.rows()] == [UUID(HEAD)]
        assert read_regions(portal) == ["head"]

    def test_latest_profile_represents_family(self, portal: TargetHarness) -> None:
        portal.send(profile(1, cluster_id="old"), profile(2, cluster_id="new", updated_at=LATER))
        portal.send(profile(3, cluster_id="older", updated_at=NOW - timedelta(days=1)))
        assert read_regions(portal) == ["new"]

    def test_later_position_decides_at_equal_times(self, portal: TargetHarness) -> None:
        positions = {9: 3, 10: 1, 8: 2}
        rows = [profile(n, cluster_id=f"C{n}").at(NOW, at) for n, at in positions.items()]
        for order in itertools.permutations(rows):
            portal.send(*order)
            assert read_regions(portal) == ["C9"]

    def test_higher_number_decides_at_equal_batch_times(self, portal: TargetHarness) -> None:
        rows = [snapshot(**values(n, cluster_id=f"C{n}")).at(NOW, 5) for n in (9, 10, 8)]
        for order in itertools.permutations(rows):
            portal.send(*order)
            assert read_regions(portal) == ["C10"]

    def test_each_family_has_a_row(self, portal: TargetHarness) -> None:
        portal.send(profile(1, cluster_id="a"), profile(2, cluster_id="b", family_id=OTHER))
        assert read_regions(portal) == ["a", "b"]


@pytest.mark.postgres
class TestSecondBest:
    @pytest.fixture(autouse=True)
    def two_profiles(self, portal: TargetHarness) -> None:
        portal.send(profile(1, cluster_id="second", under_coverage_indicator=None))
        portal.send(profile(2, cluster_id="best", updated_at=LATER))

    def best(self) -> dict[str, Any]:
        return values(2, cluster_id="best", updated_at=LATER)

    def test_second_best_returns_when_best_is_deleted(self, portal: TargetHarness) -> None:
        portal.send(delete(**self.best()).at(NOW, 5))
        (row,) = portal.rows()
        assert (row["region"], row["under_coverage"]) == ("second", None)
        assert row["source_updated_at"] == NOW

    def test_second_best_returns_when_best_changes_family(self, portal: TargetHarness) -> None:
        portal.send(update(self.best(), family_id=OTHER).at(NOW, 5))
        assert read_regions(portal) == ["second", "best"]

    def test_second_best_returns_when_best_becomes_head(self, portal: TargetHarness) -> None:
        portal.send(update(self.best(), family_id=None).at(NOW, 5))
        rows = portal.rows("family_id", "region", order="family_id")
        found = [(str(row["family_id"]), row["region"]) for row in rows]
        assert found == [(HEAD, "second"), (self.best()["gr_id"], "best")]

    def test_version_with_older_updated_at_is_ignored(self, portal: TargetHarness) -> None:
        older = {"updated_at": NOW - timedelta(days=1), "cluster_id": "older", "family_id": OTHER}
        assert portal.send(update(self.best(), **older).at(NOW, 5)) == 0
        assert read_regions(portal) == ["best"]

    def test_summary_is_removed_with_last_profile(self, portal: TargetHarness) -> None:
        portal.send(delete(**self.best()).at(NOW, 5), delete(**values(1)).at(NOW, 6))
        assert portal.rows() == []

    def test_change_of_second_best_writes_nothing(self, portal: TargetHarness) -> None:
        assert portal.send(update(values(1), cluster_id="other").at(NOW, 5)) == 0
        assert read_regions(portal) == ["best"]

    def test_older_event_never_restores_deleted_profile(self, portal: TargetHarness) -> None:
        portal.send(delete(**self.best()).at(NOW, 9))
        assert portal.send(create(**self.best()).at(NOW, 5)) == 0
        assert read_regions(portal) == ["second"]


@pytest.mark.postgres
class TestBatchAndEvents:
    def test_batch_after_event_writes_nothing(self, portal: TargetHarness) -> None:
        portal.send(profile().at(NOW, 5))
        assert portal.send(snapshot(**values()).at(NOW, 9)) == 0

    def test_event_after_newer_batch_writes_nothing(self, portal: TargetHarness) -> None:
        portal.send(snapshot(**values(cluster_id="new", updated_at=LATER)).at(NOW, 9))
        assert portal.send(profile().at(NOW, 5)) == 0
        assert read_regions(portal) == ["new"]

    def test_newer_event_after_batch_is_written(self, portal: TargetHarness) -> None:
        portal.send(snapshot(**values()).at(NOW, 5))
        portal.send(update(values(), cluster_id="event", updated_at=LATER).at(NOW, 9))
        assert read_regions(portal) == ["event"]


@pytest.mark.postgres
@pytest.mark.parametrize("band", BANDS)
def test_no_table_of_portal_contains_income_band(portal: TargetHarness, band: str) -> None:
    """Neither the summary nor its candidates nor the dead letters contain it."""
    others = {"vulnerability_level": None, "inferred_income_band": band}
    bad = profile(3, **others, under_coverage_indicator=Decimal("0.5"))
    portal.send(profile(1, **others), profile(2, **others, updated_at=LATER), bad)
    assert len(portal.dead()) == 1
    assert "CONFIDENTIAL" in dump_tables(portal)
    assert band not in dump_tables(portal).replace("profiles", "")


def dump_tables(portal: TargetHarness) -> str:
    """Return every row of every table as text."""
    tables = portal.admin.execute(
        "SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables "
        "WHERE table_schema IN ('public', 'sink') AND table_type = 'BASE TABLE'"
    ).fetchall()
    rows = [
        portal.admin.execute(f"SELECT t::text AS row FROM {table['name']} t".encode()).fetchall()
        for table in tables
    ]
    return "\n".join(row["row"] for found in rows for row in found)
