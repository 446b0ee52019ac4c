"""The demo data: reproducible, consistent, complete, and without real personal data."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from sink_stack.demo import identities, places, rows
from sink_stack.demo.rows import Plan

AS_OF = datetime.fromisoformat("2026-01-31T12:00:00")
PLAN = Plan(families=600, seed=1, as_of=AS_OF)
Tables = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def tables() -> Tables:
    return all_rows(100)


def all_rows(batch: int) -> Tables:
    """Return the rows of both databases by table; the names of their tables differ."""
    found: Tables = {}
    for _, databases in rows.batches(PLAN, batch):
        for tables in databases.values():
            for table, some in tables.items():
                found.setdefault(table, []).extend(some)
    return found


def values(tables: Tables, table: str, column: str) -> Counter[Any]:
    return Counter(row[column] for row in tables[table])


def texts(tables: Tables) -> Iterator[str]:
    for some in tables.values():
        for row in some:
            yield from (value for value in row.values() if isinstance(value, str))


# Numbers


@pytest.mark.parametrize(("digits", "check"), [("236", 3), ("12345", 1), ("142857", 0)])
def test_check_digit_is_that_of_verhoeff(digits: str, check: int) -> None:
    assert identities.check_digit(digits) == check


def test_no_number_is_or_could_be_aadhaar_number(tables: Tables) -> None:
    numbers = [row["jan_aadhaar"] for row in tables["public.golden_records"]]
    numbers += [row["aadhaar_number"] for row in tables["public.citizens"]]
    numbers += [identities.aadhaar(serial, seed) for seed in range(5) for serial in range(5_000)]
    for number in filter(None, numbers):
        assert re.fullmatch(r"[01]\d{11}", number)
        assert identities.check_digit(number[:11]) != int(number[11])


def test_no_text_contains_plausible_number(tables: Tables) -> None:
    found = [
        run for text in texts(tables) for run in re.findall(r"(?<![\d.])\d{10,12}(?!\d)", text)
    ]
    assert len(found) > 1_000
    assert all(run[0] in "01" for run in found if len(run) == 12)
    assert all(run[0] in "012345" for run in found if len(run) == 10)
    assert {len(run) for run in found} == {10, 12}


def test_every_email_has_reserved_domain(tables: Tables) -> None:
    found = [address for text in texts(tables) for address in re.findall(r"@([\w.]+\w)", text)]
    assert set(found) == {"example.in", "example.com"}


def test_numbers_of_people_are_unique() -> None:
    numbers = {identities.aadhaar(serial, 3) for serial in range(100_000)}
    assert len(numbers) == 100_000


# Reproducible


def test_same_seed_gives_same_rows_for_any_batch() -> None:
    assert list(rows.batches(PLAN, 600)) == list(rows.batches(PLAN, 600))
    assert rows.of_family(PLAN, 150) == rows.of_family(Plan(families=151, seed=1, as_of=AS_OF), 150)


def test_another_seed_gives_other_rows() -> None:
    other = Plan(families=600, seed=2, as_of=AS_OF)
    assert rows.of_family(PLAN, 0) != rows.of_family(other, 0)


def test_no_time_is_after_given_time(tables: Tables) -> None:
    times = [
        value
        for some in tables.values()
        for row in some
        for value in row.values()
        if isinstance(value, datetime)
    ]
    assert max(times) <= AS_OF


# Complete


@pytest.mark.parametrize(
    ("table", "column", "expected"),
    [
        ("public.golden_records", "status", {"active", "inactive", "merged", None}),
        ("public.golden_records", "gender", {"Male", "Female", "Other"}),
        ("public.citizens", "gender", {"MALE", "FEMALE", "OTHER"}),
        ("public.citizens", "verification_status", {"VERIFIED", "PENDING", "REJECTED"}),
        ("public.citizens", "status", {"ACTIVE", "VERIFIED", "INACTIVE", "SUSPENDED"}),
        (
            "public.profile_360",
            "inferred_income_band",
            {"VERY_LOW", "LOW", "MEDIUM", "HIGH", "UNCERTAIN", None},
        ),
        (
            "eligibility.eligibility_snapshots",
            "evaluation_status",
            {"RULE_ELIGIBLE", "POSSIBLE_ELIGIBLE", "NOT_ELIGIBLE", "UNCERTAIN", "ERROR"},
        ),
        (
            "decision.applications",
            "decision",
            {
                "AUTO_APPROVED",
                "AUTO_APPROVE",
                "AUTO_REJECTED",
                "AUTO_REJECT",
                "ROUTE_TO_OFFICER",
                "ROUTE_TO_FRAUD",
                "OFFICER_APPROVED",
                "OFFICER_REJECTED",
            },
        ),
        (
            "public.service_applications",
            "status",
            {
                "SUBMITTED",
                "UNDER_REVIEW",
                "APPROVED",
                "REJECTED",
                "COMPLETED",
                "CANCELLED",
                "WITHDRAWN",
                "PENDING_DOCS",
                "DRAFT",
            },
        ),
        (
            "public.documents",
            "verification_status",
            {"PENDING", "VERIFIED", "REJECTED", "EXPIRED"},
        ),
        (
            "public.user_behavior_events",
            "event_type",
            {
                "PAGE_VIEW",
                "SCHEME_CLICK",
                "ELIGIBILITY_CHECK",
                "APPLICATION_START",
                "APPLICATION_COMPLETE",
                "DOCUMENT_UPLOAD",
                "SEARCH_QUERY",
            },
        ),
        ("public.feedback", "type", {"FEEDBACK", "COMPLAINT", "SUGGESTION", "RATING"}),
        ("alerts.ml_alert_outbox", "severity", {"LOW", "MEDIUM", "HIGH", "CRITICAL"}),
    ],
)
def test_every_value_occurs(tables: Tables, table: str, column: str, expected: set[Any]) -> None:
    assert set(values(tables, table, column)) == expected


def test_families_have_surplus_old_and_unscored_snapshots(
    tables: Tables,
) -> None:
    snapshots = tables["eligibility.eligibility_snapshots"]
    old = AS_OF - timedelta(days=30)
    eligible = {
        (row["family_id"], row["scheme_code"])
        for row in snapshots
        if row["evaluation_status"].endswith("_ELIGIBLE") and row["evaluation_status"][0] in "RP"
    }
    assert max(Counter(family for family, _ in eligible).values()) > 5
    assert any(row["evaluation_timestamp"] < old for row in snapshots)
    assert any(row["evaluation_timestamp"] >= old for row in snapshots)
    assert min(row["evaluation_timestamp"] for row in snapshots) >= AS_OF - timedelta(days=60)
    assert any(
        row["eligibility_score"] is None and row["evaluation_status"] == "RULE_ELIGIBLE"
        for row in snapshots
    )
    assert any(len(row["explanation"] or "") > 500 for row in snapshots)
    assert {row["member_id"] is None for row in snapshots} == {True, False}


def test_most_citizens_match_a_golden_record(tables: Tables) -> None:
    known = {row["jan_aadhaar"] for row in tables["public.golden_records"]}
    matched = Counter(row["aadhaar_number"] in known for row in tables["public.citizens"])
    assert matched[True] > 10 * matched[False] > 0


def test_most_districts_are_known_aliases(tables: Tables) -> None:
    typed = values(tables, "public.citizens", "district")
    unknown = {name for name in typed if name.lower() not in places.aliases()}
    assert unknown == set(places.UNKNOWN)
    assert {"Ganga Nagar", "Chittaurgarh", "JAIPUR"} <= set(typed)


def test_districts_are_those_of_source_with_errors() -> None:
    names = [name for _, name, _ in places.DISTRICTS]
    assert len(names) == len(set(names)) == 33
    assert {"Ganganagar", "Sri Ganganagar"} <= set(names)
    assert "Jhalawar" not in names
    assert places.aliases()["ganganagar"] == places.district_ids()["Sri Ganganagar"]


def test_portal_has_all_schemes_in_hindi_and_more() -> None:
    found = rows.reference(PLAN)
    master = {row["scheme_code"] for row in found["smart_warehouse"]["public.scheme_master"]}
    portal = found["smart_citizen"]["public.schemes"]
    assert len(master) == 12
    assert master < {row["code"] for row in portal}
    assert all(re.search("[\u0900-\u097f]", row["name_hindi"]) for row in portal)


# Consistent


def test_references_without_constraint_are_valid(tables: Tables) -> None:
    people = {row["gr_id"]: row for row in tables["public.golden_records"]}
    heads = {gr_id for gr_id, row in people.items() if row["family_id"] is None}
    for table, some in tables.items():
        if table in {"public.golden_records", "public.profile_360"}:
            assert {row["family_id"] for row in some} - {None} <= heads
        elif "family_id" in some[0]:
            assert {row["family_id"] for row in some} <= heads
    members = values(tables, "eligibility.eligibility_snapshots", "member_id")
    assert set(members) - {None} <= set(people)
    for row in tables["public.citizen_identity_map"]:
        person = people[row["gr_id"]]
        assert row["warehouse_citizen_id"] == person["citizen_id"]
        assert row["family_id"] == (person["family_id"] or person["gr_id"])
        assert row["is_family_head"] == (person["family_id"] is None)


def test_decision_is_found_by_id_or_number(tables: Tables) -> None:
    ids = set(values(tables, "public.service_applications", "id"))
    numbers = set(values(tables, "public.service_applications", "application_number"))
    decisions = tables["decision.applications"]
    assert {row["application_number"] for row in decisions} <= numbers
    assert {row["application_id"] in ids for row in decisions} == {True, False}


def test_every_alert_finds_a_citizen_in_the_portal(tables: Tables) -> None:
    reachable = set(values(tables, "public.citizen_identity_map", "family_id"))
    assert set(values(tables, "alerts.ml_alert_outbox", "family_id")) <= reachable
