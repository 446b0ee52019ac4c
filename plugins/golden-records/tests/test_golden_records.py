"""Flow 2: golden records in the portal, with masked personal columns."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from sink_runner.plugin import Delete
from sink_runner.testing import NOW, Harness, MappingContract, TargetHarness, create, delete, update

POLICIES = Path(__file__).parents[3] / "ranger-policies"
HEAD = "00000000-0000-4000-8000-000000000001"
MEMBER = "00000000-0000-4000-8000-000000000002"
ASHA = {
    "gr_id": MEMBER,
    "family_id": HEAD,
    "jan_aadhaar": "012345671234",
    "mobile_number": "0123455678",
    "email": "asha@example.in",
    "full_name": "Asha Devi",
    "date_of_birth": date(1980, 2, 29),
    "gender": "Female",
    "district_id": 12,
    "city_village": "Bagru",
    "status": "active",
    "created_at": NOW - timedelta(days=900),
    "updated_at": NOW,
}


class TestContract(MappingContract):
    plugin = "golden-records"
    policies = POLICIES
    personal = frozenset({"jan_aadhaar", "mobile_number", "email"})
    samples = (
        create(**ASHA),
        update(ASHA, mobile_number=None),
        create(**ASHA | {"status": "Merged"}),
        delete(**ASHA),
    )
    broken = (
        (create(**ASHA | {"created_at": NOW + timedelta(1)}), "updated_at not before created_at"),
        (update(ASHA, gr_id=None), "required"),
    )


@pytest.fixture
def sink() -> Harness:
    return Harness("golden-records", policies=POLICIES)


def test_policies_mask_personal_columns(sink: Harness) -> None:
    row = sink.send(create(**ASHA)).row
    assert row["jan_aadhaar"] == "****-****-1234"
    assert row["mobile_number"] == "******5678"
    assert row["email"] == "a***@example.in"


def test_head_belongs_to_its_own_family(sink: Harness) -> None:
    assert sink.send(create(**ASHA | {"family_id": None})).row["family_id"] == MEMBER


def test_missing_gender_gets_default(sink: Harness) -> None:
    outcome = sink.send(create(**ASHA | {"gender": None}))
    assert (outcome.row["gender"], outcome.defaults) == ("UNKNOWN", ("gender",))


@pytest.mark.parametrize("status", ["inactive", "Inactive", "MERGED", "merged"])
def test_inactive_record_is_removed(sink: Harness, status: str) -> None:
    assert sink.send(update(ASHA, status=status)).leaves == [((MEMBER,), Delete())]


@pytest.mark.parametrize("status", ["active", "ACTIVE", None])
def test_active_record_is_kept(sink: Harness, status: str | None) -> None:
    assert sink.send(update(ASHA, status=status)).row["record_id"] == MEMBER


def test_change_older_than_30_days_is_dropped(sink: Harness) -> None:
    old = NOW - timedelta(days=30, seconds=1)
    assert sink.send(create(**ASHA | {"updated_at": old})).rows == []  # the daily batch run has it
    assert sink.send(create(**ASHA | {"updated_at": NOW - timedelta(days=30)})).rows


def test_record_without_updated_at_is_dead_letter(sink: Harness) -> None:
    assert "source_updated_at" in str(sink.send(create(**ASHA | {"updated_at": None})).error)


@pytest.fixture
def portal(postgres) -> Iterator[TargetHarness]:
    name = postgres.fresh_database(like="smart_citizen")
    harness = TargetHarness(
        "golden-records",
        dsn=postgres.dsn(name, role="sink_writer"),
        admin_dsn=postgres.dsn(name),
        policies=POLICIES,
    )
    yield harness
    harness.close()


@pytest.mark.postgres
class TestWrittenRows:
    def test_inserted_record_is_masked(self, portal: TargetHarness) -> None:
        assert portal.send(create(**ASHA)) == 1
        (row,) = portal.rows()
        assert row["record_id"] == UUID(MEMBER)
        assert row["jan_aadhaar"] == "****-****-1234"
        assert row["date_of_birth"] == date(1980, 2, 29)
        assert row["source_updated_at"] == NOW
        assert portal.dead() == []

    def test_older_version_changes_nothing(self, portal: TargetHarness) -> None:
        portal.send(create(**ASHA))
        older = ASHA | {"full_name": "Old", "updated_at": NOW - timedelta(seconds=1)}
        assert portal.send(update(ASHA, **older)) == 0
        assert portal.rows("full_name") == [{"full_name": "Asha Devi"}]

    def test_later_position_wins_at_equal_times(self, portal: TargetHarness) -> None:
        first, second = update(ASHA, full_name="One"), update(ASHA, full_name="Two")
        portal.send(first, second)
        assert portal.rows("full_name") == [{"full_name": "Two"}]
        portal.send(update(ASHA, full_name="Three"))
        assert portal.rows("full_name") == [{"full_name": "Three"}]

    def test_change_of_unmapped_columns_writes_nothing(self, portal: TargetHarness) -> None:
        portal.send(create(**ASHA))
        assert portal.send(update(ASHA, status="ACTIVE")) == 0

    def test_removed_record_can_return(self, portal: TargetHarness) -> None:
        portal.send(create(**ASHA))
        portal.send(update(ASHA, status="inactive").at(NOW))
        assert portal.rows() == []
        portal.send(update(ASHA, status="active").at(NOW, 3))
        assert len(portal.rows()) == 1

    def test_removal_and_return_within_one_batch(self, portal: TargetHarness) -> None:
        portal.send(
            create(**ASHA),
            update(ASHA, status="merged").at(NOW, 2),
            update(ASHA, full_name="Back").at(NOW, 3),
        )
        assert portal.rows("full_name") == [{"full_name": "Back"}]

    def test_older_event_never_restores_deleted_record(self, portal: TargetHarness) -> None:
        portal.send(create(**ASHA), delete(**ASHA).at(NOW, 9))
        assert portal.send(create(**ASHA).at(NOW, 5)) == 0
        assert portal.rows() == []
        assert portal.send(create(**ASHA).at(NOW, 10)) == 1

    def test_bad_row_does_not_block_others(self, portal: TargetHarness) -> None:
        others = [
            create(**ASHA | {"gr_id": f"{i:08d}-0000-4000-8000-000000000000"}) for i in range(9)
        ]
        bad = create(**ASHA | {"full_name": "x" * 301})
        portal.send(*others[:4], bad, *others[4:])
        assert len(portal.rows("record_id")) == len(others)
        (dead_letter,) = portal.dead()
        assert dead_letter["sqlstate"] == "22001"
        assert "x" * 20 not in str(dead_letter)
