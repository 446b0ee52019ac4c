"""Flow 10: which papers a citizen has handed in, and nothing of what is in them."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from sink_runner.plugin import SetColumns
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
DOCUMENT = "00000000-0000-4000-8000-000000000001"
RAVI, STRANGER = "00000000-0000-4000-8000-0000000000c1", "00000000-0000-4000-8000-0000000000c2"
CARD = {
    "id": DOCUMENT,
    "citizen_id": RAVI,
    "document_type": "INCOME_CERTIFICATE",
    "document_name": "income.pdf",
    "file_size": 20_000,
    "verification_status": "PENDING",
    "uploaded_at": NOW - timedelta(days=1),
    "created_at": NOW - timedelta(days=1),
    "updated_at": NOW,
}
FOUND = {"citizen_id": {RAVI: "RJ00000001"}}
GONE = delete(id=DOCUMENT)
"""The table keeps its default replica identity: a delete names the key and nothing else."""


def document(**changed: Any) -> Sample:
    return create(**CARD | changed)


class TestContract(MappingContract):
    plugin = "documents"
    policies = POLICIES
    samples = (
        document(),
        document(citizen_id=None, document_name=None, file_size=None, verification_status=None),
        update(CARD, verification_status="VERIFIED"),
        snapshot(**CARD),
        GONE,
    )
    broken = (
        (document(file_size=-1), "minimum"),
        (document(document_type=None), "required"),
        (document(uploaded_at=None), "required"),
        (document(verification_status="SEEN"), "verification status is known"),
        (document(verification_status=""), "verification status is known"),
        (
            document(created_at=NOW + timedelta(seconds=1)),
            "updated_at not before created_at",
        ),
    )


@pytest.fixture
def sink() -> Harness:
    return Harness("documents", policies=POLICIES, found=FOUND)


@pytest.mark.parametrize("column", ["file_path", "file_hash", "verification_notes"])
def test_what_leads_to_content_is_not_even_read(sink: Harness, column: str) -> None:
    assert column not in sink.mapping.source_columns


def test_a_size_of_zero_is_one(sink: Harness) -> None:
    assert sink.send(document(file_size=0)).row["file_size"] == "0"


@pytest.mark.parametrize("status", ["VERIFIED", "verified", "Expired", "REJECTED", None])
def test_a_status_keeps_its_case(sink: Harness, status: str | None) -> None:
    assert sink.send(document(verification_status=status)).row["verification_status"] == status


def test_a_delete_marks(sink: Harness) -> None:
    marked = SetColumns({"is_deleted": True})
    assert sink.send(GONE).leaves == [((DOCUMENT,), marked)]
    assert sink.mapping.on_remove == marked


@pytest.fixture
def portal(postgres) -> str:
    """A copy of the portal with two citizens; only one of them is known to the warehouse."""
    name: str = postgres.fresh_database(like="smart_citizen")
    return name


@pytest.fixture
def warehouse(postgres, portal: str) -> Iterator[TargetHarness]:
    name = postgres.fresh_database(like="smart_warehouse")
    harness = TargetHarness(
        "documents",
        dsn=postgres.dsn(name, role="sink_writer"),
        admin_dsn=postgres.dsn(name),
        policies=POLICIES,
        reader_dsns={
            "smart_citizen": postgres.dsn(portal, role="sink_reader"),
            "smart_warehouse": postgres.dsn(name, role="sink_reader"),
        },
    )
    harness.admin.execute(
        "INSERT INTO golden_records (jan_aadhaar, citizen_id) VALUES ('010000000001', 'RJ00000001')"
    )
    with psycopg.connect(postgres.dsn(portal)) as connection:
        connection.execute(
            "INSERT INTO citizens (id, aadhaar_number, full_name, mobile_number) VALUES "
            "(%s, '010000000001', 'Ravi', '1'), (%s, NULL, 'Asha', '2')",
            (RAVI, STRANGER),
        )
    yield harness
    harness.close()


@pytest.mark.postgres
class TestInTheDatabase:
    def test_a_document_s_metadata_arrives(self, warehouse: TargetHarness) -> None:
        assert warehouse.send(document()) == 1
        (row,) = warehouse.rows()
        assert row["document_id"] == UUID(DOCUMENT)
        assert row["citizen_id"] == "RJ00000001"
        assert (row["document_type"], row["file_name"]) == ("INCOME_CERTIFICATE", "income.pdf")
        assert (row["file_size"], row["verification_status"]) == (20_000, "PENDING")
        assert row["uploaded_at"] == CARD["uploaded_at"]
        assert row["is_deleted"] is False
        assert row["synced_at"] is not None
        assert warehouse.dead() == []

    def test_an_update_overwrites(self, warehouse: TargetHarness) -> None:
        warehouse.send(document())
        warehouse.send(update(CARD, verification_status="VERIFIED").at(NOW))
        assert [row["verification_status"] for row in warehouse.rows()] == ["VERIFIED"]

    def test_an_update_that_changes_nothing_mapped_writes_nothing(
        self, warehouse: TargetHarness
    ) -> None:
        warehouse.send(document())
        assert warehouse.send(update(CARD, updated_at=NOW + timedelta(days=1)).at(NOW)) == 0

    @pytest.mark.parametrize("citizen", [STRANGER, DOCUMENT, None])
    def test_citizen_whom_warehouse_does_not_know_is_null(
        self, warehouse: TargetHarness, citizen: str | None
    ) -> None:
        warehouse.send(document(citizen_id=citizen))
        assert [row["citizen_id"] for row in warehouse.rows()] == [None]
        assert warehouse.dead() == []

    @pytest.mark.parametrize("together", [True, False])
    def test_a_deleted_document_is_marked_and_kept(
        self, warehouse: TargetHarness, *, together: bool
    ) -> None:
        for batch in [[document(), GONE.at(NOW)]] if together else [[document()], [GONE.at(NOW)]]:
            warehouse.send(*batch)
        (row,) = warehouse.rows()
        assert (row["is_deleted"], row["file_name"]) == (True, "income.pdf")

    def test_a_document_that_never_came_leaves_no_row(self, warehouse: TargetHarness) -> None:
        warehouse.send(GONE)
        assert warehouse.rows() == []

    def test_one_that_is_uploaded_again_is_there_again(self, warehouse: TargetHarness) -> None:
        warehouse.send(document(), GONE.at(NOW, 2), document(file_size=1).at(NOW, 3))
        assert [(r["is_deleted"], r["file_size"]) for r in warehouse.rows()] == [(False, 1)]


@pytest.mark.postgres
class TestCorrection:
    """A document that broke a rule and is corrected in the portal a moment later."""

    def test_correction_supersedes_broken_document(self, warehouse: TargetHarness) -> None:
        warehouse.send(document(file_size=-1).at(NOW, 1))
        assert warehouse.send(update(CARD, file_size=7).at(NOW, 2)) == 1
        assert [row["file_size"] for row in warehouse.rows()] == [7]
        assert [dead_letter["status"] for dead_letter in warehouse.dead()] == ["SUPERSEDED"]

    def test_deletion_supersedes_broken_document(self, warehouse: TargetHarness) -> None:
        warehouse.send(document().at(NOW, 1))
        warehouse.send(update(CARD, file_size=-1).at(NOW, 2))
        warehouse.send(GONE.at(NOW, 3))
        assert [row["is_deleted"] for row in warehouse.rows()] == [True]
        assert [dead_letter["status"] for dead_letter in warehouse.dead()] == ["SUPERSEDED"]
