"""Flow 1: the warehouse's schemes activate and deactivate those of the portal."""

from typing import Any

import pytest

pytestmark = pytest.mark.postgres


def add_to_warehouse(pair: Any, *codes: str, status: str = "active") -> None:
    for code in codes:
        pair.warehouse.execute(
            "INSERT INTO scheme_master (scheme_code, scheme_name, category, status, benefits_json) "
            """VALUES (%s, 'The ' || %s::text, 'HEALTH', %s, '[{"amount": 10.50}]')""",
            (code, code, status),
        )


def add_to_portal(pair: Any, *codes: str, status: str = "ACTIVE") -> None:
    for code in codes:
        pair.citizen.execute(
            "INSERT INTO schemes (code, name, name_hindi, description_hindi, start_date, status) "
            "VALUES (%s, 'Own', 'नाम', 'विवरण', '2020-04-01', %s)",
            (code, status),
        )


def portal_schemes(pair: Any, column: str = "status") -> dict[str, Any]:
    return dict(pair.citizen.execute(f"SELECT code, {column} FROM schemes").fetchall())


def run_full(pair: Any) -> Any:
    report = pair.run("schemes", full=True)
    assert report.adds_up
    assert report.counts["failed"] == 0
    return report


def test_warehouse_status_sets_portal_status(pair) -> None:
    add_to_warehouse(pair, "NEW", "KNOWN")
    add_to_warehouse(pair, "LOUD", status="ACTIVE")
    add_to_warehouse(pair, "STOPPED", "NEVER_SENT", status="Inactive")
    add_to_warehouse(pair, "ARCHIVED", status="archived")
    add_to_portal(pair, "KNOWN", "STOPPED", "ARCHIVED", "OWN")
    run_full(pair)
    assert portal_schemes(pair) == {
        "NEW": "ACTIVE",
        "KNOWN": "ACTIVE",
        "LOUD": "ACTIVE",
        "STOPPED": "INACTIVE",
        "ARCHIVED": "INACTIVE",
        "OWN": "ACTIVE",
    }


def test_columns_of_portal_are_kept(pair) -> None:
    add_to_warehouse(pair, "KNOWN")
    add_to_portal(pair, "KNOWN")
    names = ("id", "name_hindi", "description_hindi", "start_date", "created_at")
    before = [portal_schemes(pair, name) for name in names]
    run_full(pair)
    assert [portal_schemes(pair, name) for name in names] == before
    assert portal_schemes(pair, "name") == {"KNOWN": "The KNOWN"}
    assert portal_schemes(pair, "benefits::text") == {"KNOWN": '[{"amount": 10.50}]'}


def test_deleted_scheme_is_deactivated(pair) -> None:
    add_to_warehouse(pair, "GONE", "STAYS")
    add_to_portal(pair, "OWN")
    run_full(pair)
    pair.warehouse.execute("DELETE FROM scheme_master WHERE scheme_code = 'GONE'")
    run_full(pair)
    assert portal_schemes(pair) == {"GONE": "INACTIVE", "STAYS": "ACTIVE", "OWN": "ACTIVE"}


def test_changed_code_creates_second_scheme(pair) -> None:
    add_to_warehouse(pair, "OLD")
    run_full(pair)
    pair.warehouse.execute("UPDATE scheme_master SET scheme_code = 'NEW'")
    run_full(pair)
    assert portal_schemes(pair) == {"OLD": "INACTIVE", "NEW": "ACTIVE"}


@pytest.mark.parametrize("end", ["DELETE FROM scheme_master", None])
def test_scheme_activated_by_portal_is_deactivated(pair, end: str | None) -> None:
    """The warehouse keeps control of a code that it once listed."""
    add_to_warehouse(pair, "ONCE")
    run_full(pair)
    pair.warehouse.execute((end or "UPDATE scheme_master SET status = 'inactive'").encode())
    for _ in range(2):
        run_full(pair)
        assert portal_schemes(pair) == {"ONCE": "INACTIVE"}
        pair.citizen.execute("UPDATE schemes SET status = 'ACTIVE'")


def test_never_active_scheme_is_deactivated(pair) -> None:
    add_to_warehouse(pair, "NEVER", status="inactive")
    add_to_portal(pair, "NEVER", "OWN")
    run_full(pair)
    pair.warehouse.execute("DELETE FROM scheme_master")
    pair.citizen.execute("UPDATE schemes SET status = 'ACTIVE'")
    run_full(pair)
    assert portal_schemes(pair) == {"NEVER": "INACTIVE", "OWN": "ACTIVE"}


def test_reactivated_scheme_keeps_its_id(pair) -> None:
    add_to_warehouse(pair, "BACK")
    run_full(pair)
    own = portal_schemes(pair, "id")
    for status in ("inactive", "active"):
        pair.warehouse.execute("UPDATE scheme_master SET status = %s", (status,))
        run_full(pair)
    assert (portal_schemes(pair, "id"), portal_schemes(pair)) == (own, {"BACK": "ACTIVE"})


def test_run_over_unchanged_source_writes_nothing(pair) -> None:
    add_to_warehouse(pair, "ON")
    add_to_warehouse(pair, "OFF", status="inactive")
    add_to_portal(pair, "OFF", "OWN")
    run_full(pair)
    before = portal_schemes(pair, "xmin::text")
    run_full(pair)
    assert portal_schemes(pair, "xmin::text") == before


def test_invalid_scheme_does_not_stop_others(pair) -> None:
    add_to_warehouse(pair, "GOOD", "BAD")
    pair.warehouse.execute("UPDATE scheme_master SET category = 'SPORTS' WHERE scheme_code = 'BAD'")
    report = pair.run("schemes", full=True)
    assert report.counts["failed"] == 1
    assert portal_schemes(pair) == {"GOOD": "ACTIVE"}
