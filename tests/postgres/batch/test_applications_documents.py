"""Flows 9 and 10 while the capture is down: a batch run writes what the events would."""

from typing import Any
from uuid import UUID

import pytest

pytestmark = pytest.mark.postgres

RAVI, FORM, CARD = UUID(int=1), UUID(int=11), UUID(int=21)


@pytest.fixture(autouse=True)
def people(pair) -> None:
    """A citizen who is known to the warehouse, with an application and a document."""
    pair.citizen.execute(
        "INSERT INTO citizens (id, aadhaar_number, full_name, mobile_number) "
        "VALUES (%s, '010000000001', 'Ravi', '1')",
        (RAVI,),
    )
    pair.warehouse.execute(
        "INSERT INTO golden_records (jan_aadhaar, citizen_id) VALUES ('010000000001', 'RJ01')"
    )
    pair.citizen.execute(
        "INSERT INTO service_applications (id, citizen_id, service_type) VALUES (%s, %s, 'S')",
        (FORM, RAVI),
    )
    pair.citizen.execute(
        "INSERT INTO documents (id, application_id, document_type, file_path, citizen_id) "
        "VALUES (%s, %s, 'PHOTO', '/p', %s)",
        (CARD, FORM, RAVI),
    )


def run(pair: Any, name: str, **options: Any) -> None:
    report = pair.run(name, **options)
    assert report.adds_up
    assert (report.counts["failed"], report.counts["parked"]) == (0, 0)


def events(pair: Any) -> list[str]:
    query = (
        "SELECT citizen_id || ' ' || event_type FROM decision.application_events "
        "ORDER BY event_timestamp, event_id"
    )
    return [event for (event,) in pair.warehouse.execute(query).fetchall()]


@pytest.mark.parametrize("full", [False, True])
def test_each_new_status_becomes_one_event(pair, *, full: bool) -> None:
    expected = ["RJ01 APPLICATION_SUBMITTED"]
    run(pair, "applications", full=full)
    assert events(pair) == expected
    for status, event in (("UNDER_REVIEW", None), ("REJECTED", "REJECTED"), ("rejected", None)):
        pair.citizen.execute("UPDATE service_applications SET status = %s", (status,))
        expected += [f"RJ01 APPLICATION_{event}"] if event else []
        run(pair, "applications", full=full)
        assert events(pair) == expected
    pair.citizen.execute("UPDATE service_applications SET priority = 'HIGH'")
    run(pair, "applications", full=full)
    assert events(pair) == expected


def test_deleted_application_keeps_its_events(pair) -> None:
    run(pair, "applications", full=True)
    pair.citizen.execute("DELETE FROM service_applications")
    run(pair, "applications", full=True)
    assert events(pair) == ["RJ01 APPLICATION_SUBMITTED"]


def test_deleted_document_is_marked(pair) -> None:
    query = "SELECT document_id, citizen_id, is_deleted FROM document_metadata"
    run(pair, "documents", full=True)
    assert pair.warehouse.execute(query).fetchall() == [(CARD, "RJ01", False)]
    pair.citizen.execute("DELETE FROM service_applications")
    run(pair, "documents", full=True)
    assert pair.warehouse.execute(query).fetchall() == [(CARD, "RJ01", True)]
