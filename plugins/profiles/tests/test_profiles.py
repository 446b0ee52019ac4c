"""Flow 3: one summary for a family, from the latest of its members' profiles."""

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
    """The profile of a member of HEAD's family."""
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


def test_it_runs_hourly_and_whole_once_a_day(sink: Harness) -> None:
    found = [(schedule.cron, schedule.full) for schedule in sink.mapping.schedules]
    assert found == [("0 * * * *", False), ("30 0 * * *", True)]


@pytest.mark.parametrize("band", [*BANDS, None])
def test_a_band_is_confidential_and_so_is_none(sink: Harness, band: str | None) -> None:
    row = sink.send(profile(inferred_income_band=band)).row
    assert row["income_category"] == "CONFIDENTIAL"


def test_nothing_of_the_models_is_read(sink: Harness) -> None:
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
    def test_row_that_breaks_rule_is_refused_by_name(
        self, sink: Harness, changed: dict[str, Any], rule: str
    ) -> None:
        error = str(sink.send(profile(**changed)).error)
        assert rule in error
        assert "SEVERE" not in error

    @pytest.mark.parametrize("level", ["VERY_HIGH", "HIGH", "MEDIUM", "LOW", "VERY_LOW", None])
    def test_a_known_vulnerability_passes(self, sink: Harness, level: str | None) -> None:
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


def regions(portal: TargetHarness) -> list[str]:
    return [row["region"] for row in portal.rows("region", order="family_id")]


@pytest.mark.postgres
class TestFamily:
    def test_a_summary_has_what_the_portal_may_know(self, portal: TargetHarness) -> None:
        assert portal.send(profile()) == 1
        (row,) = portal.rows()
        assert row["family_id"] == UUID(HEAD)
        assert (row["vulnerability"], row["under_coverage"]) == ("HIGH", True)
        assert (row["region"], row["income_category"]) == ("C-7", "CONFIDENTIAL")
        assert row["source_updated_at"] == NOW
        assert row["synced_at"] is not None
        assert portal.dead() == []

    def test_it_tells_when_it_was_last_written(self, portal: TargetHarness) -> None:
        portal.send(profile())
        (first,) = portal.rows("synced_at")
        portal.send(update(values(), cluster_id="new").at(NOW, 2))
        (second,) = portal.rows("synced_at")
        assert first["synced_at"] < second["synced_at"]

    def test_a_head_is_of_its_own_family(self, portal: TargetHarness) -> None:
        portal.send(profile(1, updated_at=LATER, cluster_id="member"))
        portal.send(profile(2, gr_id=HEAD, family_id=None, cluster_id="head"))
        assert regions(portal) == ["member"]
        portal.send(profile(2, gr_id=HEAD, family_id=None, cluster_id="head", updated_at=LATER))
        assert [row["family_id"] for row in portal.rows()] == [UUID(HEAD)]
        assert regions(portal) == ["head"]

    def test_the_latest_profile_speaks_for_the_family(self, portal: TargetHarness) -> None:
        portal.send(profile(1, cluster_id="old"), profile(2, cluster_id="new", updated_at=LATER))
        portal.send(profile(3, cluster_id="older", updated_at=NOW - timedelta(days=1)))
        assert regions(portal) == ["new"]

    def test_later_position_decides_at_equal_times(self, portal: TargetHarness) -> None:
        places = ((9, 3), (10, 1), (8, 2))
        rows = [profile(number, cluster_id=f"C{number}").at(NOW, at) for number, at in places]
        for order in itertools.permutations(rows):
            portal.send(*order)
            assert regions(portal) == ["C9"]

    def test_higher_number_decides_at_equal_batch_times(self, portal: TargetHarness) -> None:
        rows = [snapshot(**values(n, cluster_id=f"C{n}")).at(NOW, 5) for n in (9, 10, 8)]
        for order in itertools.permutations(rows):
            portal.send(*order)
            assert regions(portal) == ["C10"]

    def test_other_families_are_other_rows(self, portal: TargetHarness) -> None:
        portal.send(profile(1, cluster_id="a"), profile(2, cluster_id="b", family_id=OTHER))
        assert regions(portal) == ["a", "b"]


@pytest.mark.postgres
class TestRunnerUp:
    @pytest.fixture(autouse=True)
    def two(self, portal: TargetHarness) -> None:
        portal.send(profile(1, cluster_id="up", under_coverage_indicator=None))
        portal.send(profile(2, cluster_id="best", updated_at=LATER))

    def best(self) -> dict[str, Any]:
        return values(2, cluster_id="best", updated_at=LATER)

    def test_it_returns_when_the_winner_is_deleted(self, portal: TargetHarness) -> None:
        portal.send(delete(**self.best()).at(NOW, 5))
        (row,) = portal.rows()
        assert (row["region"], row["under_coverage"]) == ("up", None)
        assert row["source_updated_at"] == NOW

    def test_it_returns_when_winner_moves_to_another_family(self, portal: TargetHarness) -> None:
        portal.send(update(self.best(), family_id=OTHER).at(NOW, 5))
        assert regions(portal) == ["up", "best"]

    def test_it_returns_when_the_winner_turns_head(self, portal: TargetHarness) -> None:
        portal.send(update(self.best(), family_id=None).at(NOW, 5))
        rows = portal.rows("family_id", "region", order="family_id")
        found = [(str(row["family_id"]), row["region"]) for row in rows]
        assert found == [(HEAD, "up"), (self.best()["gr_id"], "best")]

    def test_a_version_whose_own_time_went_backwards_loses(self, portal: TargetHarness) -> None:
        older = {"updated_at": NOW - timedelta(days=1), "cluster_id": "older", "family_id": OTHER}
        assert portal.send(update(self.best(), **older).at(NOW, 5)) == 0
        assert regions(portal) == ["best"]

    def test_the_last_one_takes_the_family_with_it(self, portal: TargetHarness) -> None:
        portal.send(delete(**self.best()).at(NOW, 5), delete(**values(1)).at(NOW, 6))
        assert portal.rows() == []

    def test_a_loser_s_change_writes_nothing(self, portal: TargetHarness) -> None:
        assert portal.send(update(values(1), cluster_id="other").at(NOW, 5)) == 0
        assert regions(portal) == ["best"]

    def test_older_event_never_restores_deleted_profile(self, portal: TargetHarness) -> None:
        portal.send(delete(**self.best()).at(NOW, 9))
        assert portal.send(create(**self.best()).at(NOW, 5)) == 0
        assert regions(portal) == ["up"]


@pytest.mark.postgres
class TestHybrid:
    def test_the_batch_after_the_event_writes_nothing(self, portal: TargetHarness) -> None:
        portal.send(profile().at(NOW, 5))
        assert portal.send(snapshot(**values()).at(NOW, 9)) == 0

    def test_event_that_batch_saw_already_writes_nothing(self, portal: TargetHarness) -> None:
        portal.send(snapshot(**values(cluster_id="new", updated_at=LATER)).at(NOW, 9))
        assert portal.send(profile().at(NOW, 5)) == 0
        assert regions(portal) == ["new"]

    def test_whichever_comes_first(self, portal: TargetHarness) -> None:
        portal.send(snapshot(**values()).at(NOW, 5))
        portal.send(update(values(), cluster_id="event", updated_at=LATER).at(NOW, 9))
        assert regions(portal) == ["event"]


@pytest.mark.postgres
@pytest.mark.parametrize("band", BANDS)
def test_no_table_of_the_portal_holds_a_band(portal: TargetHarness, band: str) -> None:
    """Not the summary, not the candidates, not a dead letter."""
    others = {"vulnerability_level": None, "inferred_income_band": band}
    bad = profile(3, **others, under_coverage_indicator=Decimal("0.5"))
    portal.send(profile(1, **others), profile(2, **others, updated_at=LATER), bad)
    assert len(portal.dead()) == 1
    assert "CONFIDENTIAL" in everything(portal)
    assert band not in everything(portal).replace("profiles", "")


def everything(portal: TargetHarness) -> str:
    """Every row of every table, as text."""
    tables = portal.admin.execute(
        "SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables "
        "WHERE table_schema IN ('public', 'sink') AND table_type = 'BASE TABLE'"
    ).fetchall()
    rows = [
        portal.admin.execute(f"SELECT t::text AS row FROM {table['name']} t".encode()).fetchall()
        for table in tables
    ]
    return "\n".join(row["row"] for found in rows for row in found)
