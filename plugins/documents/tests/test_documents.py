"""Flow 10: the metadata of a citizen's documents, without their contents."""

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
# The table has the default replica identity: the before image of a deletion is only the key.
DELETION = delete(id=DOCUMENT)


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
        DELETION,
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
def test_columns_that_reveal_contents_are_not_read(sink: Harness, column: str) -> None:
    assert column not in sink.mapping.source_columns


def test_empty_file_passes(sink: Harness) -> None:
    assert sink.send(document(file_size=0)).row["file_size"] == "0"


@pytest.mark.parametrize("status", ["VERIFIED", "verified", "Expired", "REJECTED", None])
def test_status_keeps_its_case(sink: Harness, status: str | None) -> None:
    assert sink.send(document(verification_status=status)).row["verification_status"] == status


def test_deletion_sets_is_deleted(sink: Harness) -> None:
    action = SetColumns({"is_deleted": True})
    assert sink.send(DELETION).leaves == [((DOCUMENT,), action)]
    assert sink.mapping.on_remove == action


@pytest.fixture
def portal(postgres) -> str:
    name: str = postgres.fresh_database(like="smart_citizen")
    return name


@pytest.fixture
def warehouse(postgres, portal: str) -> Iterator[TargetHarness]:
    """Two citizens are in the portal; only one of them is known to the warehouse."""
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
class TestWrittenRows:
    def test_metadata_of_document_is_inserted(self, warehouse: TargetHarness) -> None:
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

    def test_update_overwrites_row(self, warehouse: TargetHarness) -> None:
        warehouse.send(document())
        warehouse.send(update(CARD, verification_status="VERIFIED").at(NOW))
        assert [row["verification_status"] for row in warehouse.rows()] == ["VERIFIED"]

    def test_change_of_unmapped_columns_writes_nothing(self, warehouse: TargetHarness) -> None:
        warehouse.send(document())
        assert warehouse.send(update(CARD, updated_at=NOW + timedelta(days=1)).at(NOW)) == 0

    @pytest.mark.parametrize("citizen", [STRANGER, DOCUMENT, None])
    def test_citizen_unknown_to_warehouse_is_null(
        self, warehouse: TargetHarness, citizen: str | None
    ) -> None:
        warehouse.send(document(citizen_id=citizen))
        assert [row["citizen_id"] for row in warehouse.rows()] == [None]
        assert warehouse.dead() == []

    @pytest.mark.parametrize("together", [True, False])
    def test_deleted_document_keeps_its_row(
        self, warehouse: TargetHarness, *, together: bool
    ) -> None:
        for batch in (
            [[document(), DELETION.at(NOW)]] if together else [[document()], [DELETION.at(NOW)]]
        ):
            warehouse.send(*batch)
        (row,) = warehouse.rows()
        assert (row["is_deleted"], row["file_name"]) == (True, "income.pdf")

    def test_deletion_of_unknown_document_inserts_nothing(self, warehouse: TargetHarness) -> None:
        warehouse.send(DELETION)
        assert warehouse.rows() == []

    def test_second_upload_clears_is_deleted(self, warehouse: TargetHarness) -> None:
        warehouse.send(document(), DELETION.at(NOW, 2), document(file_size=1).at(NOW, 3))
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
        warehouse.send(DELETION.at(NOW, 3))
        assert [row["is_deleted"] for row in warehouse.rows()] == [True]
        assert [dead_letter["status"] for dead_letter in warehouse.dead()] == ["SUPERSEDED"]
