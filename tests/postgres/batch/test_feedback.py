"""Flow 12: each feedback is copied once, by the first run that reads it."""

from typing import Any
from uuid import UUID

import psycopg
import pytest

pytestmark = pytest.mark.postgres

RAVI, ASHA = UUID(int=1), UUID(int=2)
APPLICATION, GENERAL = UUID(int=11), UUID(int=12)


@pytest.fixture(autouse=True)
def people(pair) -> None:
    """Ravi, known to the warehouse, has applications with and without a scheme; Asha is unknown."""
    pair.citizen.execute(
        "INSERT INTO citizens (id, aadhaar_number, full_name, mobile_number) "
        "VALUES (%s, '010000000001', 'Ravi', '1'), (%s, '010000000002', 'Asha', '2')",
        (RAVI, ASHA),
    )
    pair.warehouse.execute(
        "INSERT INTO golden_records (jan_aadhaar, citizen_id) VALUES ('010000000001', 'RJ01'), "
        "('010000000002', NULL)"
    )
    pair.citizen.execute(
        "WITH s AS (INSERT INTO schemes (code, name) VALUES ('NREGA', 'N') RETURNING id) "
        "INSERT INTO service_applications (id, citizen_id, service_type, scheme_id) "
        "SELECT %s::uuid, %s::uuid, 'S', id FROM s UNION ALL SELECT %s, %s, 'S', NULL",
        (APPLICATION, RAVI, GENERAL, RAVI),
    )


def add_feedback(pair: Any, message: str, citizen: UUID | None = RAVI, **columns: Any) -> None:
    values = {"citizen_id": citizen, "type": "RATING", "message": message, **columns}
    names, marks = ", ".join(values), ", ".join("%s" for _ in values)
    query = f"INSERT INTO feedback ({names}) VALUES ({marks})"
    pair.citizen.execute(query, list(values.values()))


def run(pair: Any, **options: Any) -> int:
    """Run the batch and return the number of written rows."""
    report = pair.run("feedback", **options)
    assert report.adds_up
    assert (report.counts["failed"], report.counts["parked"]) == (0, 0)
    return int(report.counts["written"])


def analytics(pair: Any, columns: str = "comment") -> list[Any]:
    query = f"SELECT {columns} FROM analytics.feedback_analytics ORDER BY comment"
    return [row[0] if len(row) == 1 else row for row in pair.warehouse.execute(query).fetchall()]


def test_new_feedback_arrives_scrubbed_with_warehouse_names(pair) -> None:
    message = "I am 010000000001, call 0123456789 or mail r@example.in"
    add_feedback(
        pair, message, application_id=APPLICATION, rating=4, created_at="2026-01-02 03:04:05"
    )
    assert run(pair) == 1
    columns = "citizen_id, feedback_type, rating, scheme_code, created_at::text, comment"
    hidden = "***MASKED***"
    assert analytics(pair, columns) == [
        (
            *("RJ01", "RATING", 4, "NREGA", "2026-01-02 03:04:05"),
            f"I am {hidden}, call {hidden} or mail {hidden}",
        )
    ]


def test_unchanged_source_is_not_read_again(pair) -> None:
    add_feedback(pair, "a")
    assert run(pair) == 1
    report = pair.run("feedback")
    assert (report.counts["read"], report.counts["written"]) == (0, 0)


def test_late_row_with_old_time_is_copied(pair) -> None:
    add_feedback(pair, "new")
    run(pair)
    add_feedback(pair, "old", created_at="2020-01-01", updated_at="2020-01-01")
    assert run(pair) == 1
    assert analytics(pair) == ["new", "old"]


def test_row_committed_out_of_order_is_copied(pair) -> None:
    with psycopg.connect(pair.postgres.dsn(pair.names["smart_citizen"])) as slow:
        slow.execute("INSERT INTO feedback (type, message) VALUES ('RATING', 'slow')")
        add_feedback(pair, "fast")
        assert run(pair) == 1
        slow.commit()
    assert run(pair) == 1
    assert analytics(pair) == ["fast", "slow"]


@pytest.mark.parametrize("full", [False, True])
def test_later_changes_of_feedback_are_not_copied(pair, *, full: bool) -> None:
    add_feedback(pair, "a")
    add_feedback(pair, "b")
    run(pair)
    before = analytics(pair, "feedback_id, comment, synced_at, xmin::text")
    pair.citizen.execute(
        "UPDATE feedback SET status = 'RESOLVED', message = 'c' WHERE message = 'a'"
    )
    pair.citizen.execute("DELETE FROM feedback WHERE message = 'b'")
    assert run(pair, full=full) == 0
    assert analytics(pair, "feedback_id, comment, synced_at, xmin::text") == before


def test_citizen_and_scheme_may_be_unknown(pair) -> None:
    add_feedback(pair, "a", ASHA)
    add_feedback(pair, "b", None, application_id=GENERAL)
    add_feedback(pair, "c", RAVI)
    run(pair)
    assert analytics(pair, "citizen_id, scheme_code") == [
        (None, None),
        (None, None),
        ("RJ01", None),
    ]


def test_invalid_feedback_does_not_stop_others(pair) -> None:
    add_feedback(pair, "a", type="PRAISE")
    add_feedback(pair, "b")
    report = pair.run("feedback")
    assert (report.counts["failed"], report.counts["written"]) == (1, 1)
    query = "SELECT error_message FROM sink.dead_letter"
    assert pair.warehouse.execute(query).fetchall() == [("the row breaks rule 'type is known'",)]
    assert run(pair) == 0
