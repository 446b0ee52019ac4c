"""What smart_warehouse holds about one family."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from .draw import Draw
from .families import Family, Person
from .places import DISTRICTS
from .portal import Application
from .schemes import SCHEMES

Row = dict[str, Any]

STATUSES = (("active", 93), ("inactive", 4), ("merged", 2), (None, 1))
BANDS = (
    ("VERY_LOW", 22),
    ("LOW", 30),
    ("MEDIUM", 22),
    ("HIGH", 8),
    ("UNCERTAIN", 10),
    (None, 8),  # no consent
)
LEVELS = (("VERY_HIGH", 8), ("HIGH", 22), ("MEDIUM", 40), ("LOW", 22), ("VERY_LOW", 8))
EVALUATIONS = (
    ("RULE_ELIGIBLE", 34),
    ("POSSIBLE_ELIGIBLE", 26),
    ("NOT_ELIGIBLE", 22),
    ("UNCERTAIN", 12),
    ("ERROR", 6),
)
DECISIONS = (
    ("AUTO_APPROVE", 25),
    ("AUTO_APPROVED", 15),
    ("AUTO_REJECT", 8),
    ("AUTO_REJECTED", 5),
    ("ROUTE_TO_OFFICER", 25),
    ("ROUTE_TO_FRAUD", 4),
    ("OFFICER_APPROVED", 12),
    ("OFFICER_REJECTED", 6),
)
SEVERITIES = (("LOW", 30), ("MEDIUM", 40), ("HIGH", 22), ("CRITICAL", 8))
ALERTS = (
    ("BENEFIT_EXPIRY", "A benefit of your family ends soon.", "AI-PLATFORM-14"),
    ("PROFILE_HEALTH", "Your profile is incomplete.", "AI-PLATFORM-14"),
    ("ELIGIBILITY_REVIEW", "A benefit of your family is under review.", "AI-PLATFORM-07"),
    ("INCLUSION_NUDGE", "Your family may be eligible for a further scheme.", "AI-PLATFORM-09"),
    # Texts that must not arrive as they are.
    ("INCLUSION_NUDGE", "Eligible because of income band VERY_LOW.", "AI-PLATFORM-09"),
    ("ELIGIBILITY_REVIEW", "Two records carry the number {number}.", "AI-PLATFORM-07"),
)
_LONG_EXPLANATION = "The rule on income is met, the one on land is not yet proven. " * 12


def golden_records(draw: Draw, family: Family) -> Iterator[Row]:
    for person in family.people:
        changed = draw.after(family.since, 1000) if draw.chance(50) else draw.ago(45)
        yield {
            "gr_id": person.gr_id,
            "family_id": None if person.head else family.family_id,
            "citizen_id": person.citizen_id,
            "jan_aadhaar": person.number,
            "full_name": person.name,
            "date_of_birth": person.born,
            "age": person.age,
            "gender": person.gender,
            "caste_id": draw.number(1, 5) if draw.chance(90) else None,
            "district_id": family.district,
            "city_village": family.village,
            "pincode": family.pincode,
            "is_urban": family.urban,
            "status": "active" if person.head else draw.weighted(STATUSES),
            "created_at": family.since,
            "updated_at": changed,
            "mobile_number": person.mobile if person.adult and draw.chance(70) else None,
            "email": person.email if person.adult and draw.chance(25) else None,
        }


def profiles(draw: Draw, family: Family) -> Iterator[Row]:
    code = DISTRICTS[family.district - 1][0]
    cluster = f"{code}-{draw.number(1, 6)}"
    for person in family.people:
        if not person.head and draw.chance(10):
            continue  # not computed yet
        band, moment = draw.weighted(BANDS), draw.after(family.since, 1000)
        level, under = draw.weighted(LEVELS), draw.chance(15)
        yield {
            "gr_id": person.gr_id,
            "family_id": None if person.head else family.family_id,
            "profile_data": json.dumps(
                {"members": len(family.people), "vulnerability_level": level, "under": under}
            ),
            "inferred_income_band": band,
            "income_band_confidence": draw.score(0.5) if band else None,
            "cluster_id": cluster,
            "cluster_type": "URBAN" if family.urban else "RURAL",
            "risk_flags": ["UNDER_COVERAGE"] if under else [],
            "created_at": family.since,
            "updated_at": moment,
            "last_recomputed_at": moment,
            "vulnerability_level": level,
            "under_coverage_indicator": under,
        }


def snapshots(draw: Draw, family: Family) -> Iterator[Row]:
    """Several schemes, each evaluated once to thrice in the last sixty days."""
    for scheme in draw.some(SCHEMES, draw.number(4, 9)):
        member = draw.one_of(family.people) if draw.chance(50) else None
        for version in range(1, draw.number(1, 3) + 1):
            yield _snapshot(draw, family, member, scheme.code, version)


def _snapshot(draw: Draw, family: Family, member: Person | None, code: str, version: int) -> Row:
    status, moment = draw.weighted(EVALUATIONS), draw.ago(60)
    scored = status != "ERROR" and not draw.chance(5)
    explanation = f"{status} by the rules of {code}." if draw.chance(85) else None
    return {
        "family_id": family.family_id,
        "member_id": member.gr_id if member else None,
        "scheme_code": code,
        "evaluation_status": status,
        "eligibility_score": draw.score(0.2) if scored else None,
        "confidence_score": draw.score(0.4) if scored else None,
        "priority_score": draw.score(0, 100) if scored else None,
        "vulnerability_level": draw.weighted(LEVELS[:4]),
        "under_coverage_indicator": draw.chance(15),
        "explanation": _LONG_EXPLANATION if draw.chance(3) else explanation,
        "evaluation_timestamp": moment,
        "evaluation_type": draw.weighted((("BATCH", 70), ("EVENT_DRIVEN", 25), ("ON_DEMAND", 5))),
        "evaluation_version": version,
        "created_at": moment,
        "updated_at": moment,
    }


def forecasts(draw: Draw, family: Family) -> Iterator[Row]:
    for place in range(draw.weighted(((0, 30), (1, 55), (2, 15)))):
        codes = [scheme.code for scheme in draw.some(SCHEMES, draw.number(1, 4))]
        amounts = [draw.number(1, 60) * 500 for _ in codes]
        moment = draw.ago(90)
        yield {
            "forecast_id": family.index * 2 + place + 1,
            "family_id": family.family_id,
            "horizon_months": draw.weighted(((12, 80), (24, 15), (6, 5))),
            "total_annual_value": f"{sum(amounts)}.00",
            "scheme_count": len(codes),
            "projections": json.dumps(
                [
                    {
                        "scheme_code": code,
                        "projection_type": "FUTURE_ENROLMENT",
                        "benefit_amount": amount,
                    }
                    for code, amount in zip(codes, amounts, strict=True)
                ]
            ),
            "generated_at": moment,
            "updated_at": moment,
        }


def decisions(draw: Draw, family: Family, applications: Sequence[Application]) -> Iterator[Row]:
    """Most applications have been decided on; a few are known by their number only."""
    for application in applications:
        if application.draft or not draw.chance(65):
            continue
        moment = draw.after(application.submitted, 20)
        decision = draw.weighted(DECISIONS)
        yield {
            "application_id": draw.uuid() if draw.chance(3) else application.id,
            "application_number": application.number,
            "family_id": family.family_id,
            "scheme_code": application.scheme_code,
            "decision": decision,
            "risk_score": draw.score(),
            "confidence": draw.score(0.5) if draw.chance(90) else None,
            "reasons": json.dumps([f"Decided by the rules: {decision.lower()}."]),
            "decision_timestamp": moment,
            "updated_at": moment,
        }


def alerts(draw: Draw, family: Family, *, reachable: bool) -> Iterator[Row]:
    """Alerts for families with a member in the portal."""
    for _ in range(draw.weighted(((0, 45), (1, 40), (2, 15))) if reachable else 0):
        kind, message, source = draw.one_of(ALERTS)
        yield {
            "alert_id": draw.uuid(),
            "family_id": family.family_id,
            "alert_type": kind,
            "severity": draw.weighted(SEVERITIES),
            "message": message.format(number=family.people[0].number),
            "action_url": f"/alerts/{kind.lower()}" if draw.chance(70) else None,
            "source_use_case": source,
            "created_at": draw.ago(30),
        }
