"""Flow 1 as it runs: the warehouse's schemes switch the portal's on and off."""

from typing import Any

import pytest

pytestmark = pytest.mark.postgres


def listed(pair: Any, *codes: str, status: str = "active") -> None:
    """The warehouse has these schemes."""
    for code in codes:
        pair.warehouse.execute(
            "INSERT INTO scheme_master (scheme_code, scheme_name, category, status, benefits_json) "
            """VALUES (%s, 'The ' || %s::text, 'HEALTH', %s, '[{"amount": 10.50}]')""",
            (code, code, status),
        )


def portal_has(pair: Any, *codes: str, status: str = "ACTIVE") -> None:
    for code in codes:
        pair.citizen.execute(
            "INSERT INTO schemes (code, name, name_hindi, description_hindi, start_date, status) "
            "VALUES (%s, 'Own', 'नाम', 'विवरण', '2020-04-01', %s)",
            (code, status),
        )


def found(pair: Any, column: str = "status") -> dict[str, Any]:
    return dict(pair.citizen.execute(f"SELECT code, {column} FROM schemes").fetchall())


def full(pair: Any) -> Any:
    report = pair.run("schemes", full=True)
    assert report.adds_up
    assert report.counts["failed"] == 0
    return report


def test_warehouse_switches_each_scheme_on_or_off(pair) -> None:
    listed(pair, "NEW", "KNOWN")
    listed(pair, "LOUD", status="ACTIVE")
    listed(pair, "STOPPED", "NEVER_SENT", status="Inactive")
    listed(pair, "ARCHIVED", status="archived")
    portal_has(pair, "KNOWN", "STOPPED", "ARCHIVED", "OWN")
    full(pair)
    assert found(pair) == {
        "NEW": "ACTIVE",
        "KNOWN": "ACTIVE",
        "LOUD": "ACTIVE",
        "STOPPED": "INACTIVE",
        "ARCHIVED": "INACTIVE",
        "OWN": "ACTIVE",
    }


def test_what_is_the_portal_s_survives(pair) -> None:
    listed(pair, "KNOWN")
    portal_has(pair, "KNOWN")
    names = ("id", "name_hindi", "description_hindi", "start_date", "created_at")
    before = [found(pair, name) for name in names]
    full(pair)
    assert [found(pair, name) for name in names] == before
    assert found(pair, "name") == {"KNOWN": "The KNOWN"}
    assert found(pair, "benefits::text") == {"KNOWN": '[{"amount": 10.50}]'}


def test_a_scheme_that_is_gone_is_switched_off(pair) -> None:
    listed(pair, "GONE", "STAYS")
    portal_has(pair, "OWN")
    full(pair)
    pair.warehouse.execute("DELETE FROM scheme_master WHERE scheme_code = 'GONE'")
    full(pair)
    assert found(pair) == {"GONE": "INACTIVE", "STAYS": "ACTIVE", "OWN": "ACTIVE"}


def test_a_scheme_that_gets_another_code_is_two(pair) -> None:
    listed(pair, "OLD")
    full(pair)
    pair.warehouse.execute("UPDATE scheme_master SET scheme_code = 'NEW'")
    full(pair)
    assert found(pair) == {"OLD": "INACTIVE", "NEW": "ACTIVE"}


@pytest.mark.parametrize("end", ["DELETE FROM scheme_master", None])
def test_scheme_switched_on_by_portal_is_switched_off(pair, end: str | None) -> None:
    """Has or had: a code that the warehouse once listed stays its business."""
    listed(pair, "ONCE")
    full(pair)
    pair.warehouse.execute((end or "UPDATE scheme_master SET status = 'inactive'").encode())
    for _ in range(2):
        full(pair)
        assert found(pair) == {"ONCE": "INACTIVE"}
        pair.citizen.execute("UPDATE schemes SET status = 'ACTIVE'")


def test_so_is_one_that_was_never_active(pair) -> None:
    listed(pair, "NEVER", status="inactive")
    portal_has(pair, "NEVER", "OWN")
    full(pair)
    pair.warehouse.execute("DELETE FROM scheme_master")
    pair.citizen.execute("UPDATE schemes SET status = 'ACTIVE'")
    full(pair)
    assert found(pair) == {"NEVER": "INACTIVE", "OWN": "ACTIVE"}


def test_it_comes_back_with_its_id(pair) -> None:
    listed(pair, "BACK")
    full(pair)
    own = found(pair, "id")
    for status in ("inactive", "active"):
        pair.warehouse.execute("UPDATE scheme_master SET status = %s", (status,))
        full(pair)
    assert (found(pair, "id"), found(pair)) == (own, {"BACK": "ACTIVE"})


def test_a_run_that_finds_nothing_new_writes_nothing(pair) -> None:
    listed(pair, "ON")
    listed(pair, "OFF", status="inactive")
    portal_has(pair, "OFF", "OWN")
    full(pair)
    before = found(pair, "xmin::text")
    full(pair)
    assert found(pair, "xmin::text") == before


def test_a_bad_scheme_does_not_stop_the_others(pair) -> None:
    listed(pair, "GOOD", "BAD")
    pair.warehouse.execute("UPDATE scheme_master SET category = 'SPORTS' WHERE scheme_code = 'BAD'")
    report = pair.run("schemes", full=True)
    assert report.counts["failed"] == 1
    assert found(pair) == {"GOOD": "ACTIVE"}
