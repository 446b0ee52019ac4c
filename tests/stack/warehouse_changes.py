"""The scenario's changes in the warehouse, for flows 1 to 7; later changes build on the first."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from .scenario_data import ScenarioData

GOLDEN, PROFILES = "public.golden_records", "public.profile_360"
SCHEMES, SNAPSHOTS = "public.scheme_master", "eligibility.eligibility_snapshots"
FORECASTS, DECISIONS = "forecast.benefit_forecasts", "decision.applications"
ALERTS = "alerts.ml_alert_outbox"
SCHEME_CODES = ("CHIRANJEEVI", "VISHESH_LABH", "GRAMIN_AWAS", "NREGA", "KISAN_CREDIT", "STORY_NEW")
LATE_SCHEME = "MAHATMA_GANDHI_NREGA"
"""A scheme that the warehouse gets only with the second changes."""
INVALID_ROWS = {
    "golden-records": 1,
    "profiles": 2,
    "eligibility-snapshots": 2,
    "benefit-forecasts": 1,
    "decisions": 1,
}
"""The number of rows of each mapping that break a rule."""


@dataclass(slots=True, kw_only=True)
class FirstKeys:
    """Keys of rows that the first changes wrote and later changes use."""

    head: str
    member: str
    hints: list[int]
    forecasts: list[int]
    known_family: str
    late_family: str
    early_application: str
    withdrawn_application: str
    decided: list[str]


def insert_initial_schemes(data: ScenarioData) -> None:
    """Insert schemes that the first changes drop, rename and deactivate."""
    for code in ("STORY_DROPPED", "STORY_RENAMED", "STORY_OFF"):
        data.insert(SCHEMES, scheme_code=code, status="Active", benefits_json=[code])


def make_first_changes(data: ScenarioData) -> FirstKeys:
    change_schemes(data)
    head, member = change_golden_records(data)
    change_profiles(data, head, member)
    # A TOAST value: the second changes do not update it, so their events do not contain it.
    large = {"projections": [{"scheme_code": data.people.uuid()} for _ in range(500)]}
    forecasts = [
        data.insert_forecast(head, generated_at=ago(minutes=number), **large if number == 0 else {})
        for number in range(4)
    ]
    known, late = data.people.uuid(), data.people.uuid()
    change_alerts(data, known, late)
    early, withdrawn, decided = change_decisions(data)
    return FirstKeys(
        head=head,
        member=member,
        hints=change_snapshots(data, head, member),
        forecasts=forecasts,
        known_family=known,
        late_family=late,
        early_application=early,
        withdrawn_application=withdrawn,
        decided=decided,
    )


def change_schemes(data: ScenarioData) -> None:
    data.insert(SCHEMES, scheme_code="STORY_NEW", status="ACTIVE", eligibility_criteria_json={})
    data.insert(SCHEMES, scheme_code="STORY_NEVER", status="archived")
    data.update(SCHEMES, ("scheme_code", "STORY_OFF"), status="Inactive")
    data.update(SCHEMES, ("scheme_code", "NREGA"), scheme_name="Work for all", description=None)
    data.update(SCHEMES, ("scheme_code", "STORY_RENAMED"), scheme_code="STORY_NAMED")
    data.delete(SCHEMES, ("scheme_code", "STORY_DROPPED"))


def change_golden_records(data: ScenarioData) -> tuple[str, str]:
    head = data.insert_golden()
    member = data.insert_golden(family_id=head, gender=None)
    gone, merged, moved = (data.insert_golden(family_id=head) for _ in range(3))
    data.insert_golden(created_at=ago(days=-1), updated_at=ago())  # breaks a rule
    data.delete(GOLDEN, ("gr_id", gone))
    data.update(GOLDEN, ("gr_id", merged), status="Merged")
    data.update(GOLDEN, ("gr_id", merged), status="ACTIVE", jan_aadhaar=None)
    data.update(GOLDEN, ("gr_id", moved), gr_id=data.people.uuid(), status="INACTIVE")
    data.update(GOLDEN, ("gr_id", head), age=50)  # an unmapped column
    with data.warehouse.transaction():  # two versions with equal time
        data.update(GOLDEN, ("gr_id", member), city_village="Deeg")
        data.update(GOLDEN, ("gr_id", member), city_village="Nagaur")
    return head, member


def change_profiles(data: ScenarioData, head: str, member: str) -> None:
    data.insert_profile(head, created_at=ago(days=9), updated_at=ago(hours=2), cluster_id="JAI-1")
    data.insert_profile(
        member, family_id=head, created_at=ago(days=9), updated_at=ago(hours=1), cluster_id="JAI-2",
        inferred_income_band="LOW",
    )  # fmt: skip
    key = ("gr_id", head)
    data.update(PROFILES, key, updated_at=ago(hours=3), cluster_id="JAI-OLD")
    data.update(PROFILES, key, updated_at=ago(), vulnerability_level="AWFUL")  # breaks a rule
    data.update(
        PROFILES, key, updated_at=ago(days=10), vulnerability_level="LOW"
    )  # older than its creation, which breaks a rule


def change_snapshots(data: ScenarioData, head: str, member: str) -> list[int]:
    snapshots = [
        data.insert_snapshot(head, code, f"0.{number + 3}", evaluation_timestamp=ago(hours=1))
        for number, code in enumerate(SCHEME_CODES)
    ]
    large = "".join(data.people.uuid() for _ in range(500))
    explained = data.insert_snapshot(
        head, "NREGA", "0.99", member_id=member, explanation=large,
        evaluation_timestamp=ago(minutes=2),
    )  # fmt: skip
    data.update(
        SNAPSHOTS, ("snapshot_id", explained), eligibility_score="0.995",
        evaluation_timestamp=ago(minutes=1),
    )  # fmt: skip
    data.insert_snapshot(head, "KISAN_CREDIT", "0.1", evaluation_status="ERROR")
    data.insert_snapshot(head, "VISHESH_LABH", "1.5")  # breaks a rule
    data.insert_snapshot(
        head, "VISHESH_LABH", "0.9", evaluation_status="SPLENDID"
    )  # breaks another rule
    data.insert_snapshot(member, "NREGA", "0.125", evaluation_timestamp=ago(days=31))
    data.insert_snapshot(member, "CHIRANJEEVI", "0.125", confidence_score=None)
    return snapshots


def change_decisions(data: ScenarioData) -> tuple[str, str, list[str]]:
    """Insert two decisions before their applications, and three on existing applications."""
    early, withdrawn = data.people.uuid(), data.people.uuid()
    data.insert_decision(withdrawn, decision="AUTO_APPROVE", decision_timestamp=ago(minutes=2))
    data.insert_decision(early, decision="AUTO_APPROVE", decision_timestamp=ago(minutes=2))
    data.update(DECISIONS, ("application_id", early), decision="OFFICER_APPROVED",
                decision_timestamp=ago(minutes=1))  # fmt: skip
    citizen = data.insert_person()
    decided = [
        data.insert_application(citizen, application_number=f"STORY-{data.next_serial()}")
        for _ in range(3)
    ]
    for application in decided:
        data.insert_decision(application, risk_score="0.1", decision_timestamp=ago(minutes=9))
    number = data.citizen.execute(
        "SELECT application_number FROM service_applications WHERE id = %s", [decided[0]]
    ).fetchone()
    assert number is not None
    data.insert_decision(
        data.people.uuid(), application_number=number[0], decision="ROUTE_TO_FRAUD"
    )
    data.update(DECISIONS, ("application_id", decided[1]), family_id=early)  # an unmapped column
    data.update(DECISIONS, ("application_id", decided[1]), reasons={}, decision_timestamp=ago())
    return early, withdrawn, decided


def change_alerts(data: ScenarioData, family: str, late_family: str) -> None:
    data.insert_member(family)
    data.insert_alert(family, message="Income band VERY_LOW of 012345678901, write to a@example.in")
    data.insert_alert(family, message="A LOW income, a HIGH risk, call 0123456789")
    data.insert_alert(family, alert_type="Call 0123456789", action_url="/apply?mobile=0123456789")
    updated = data.insert_alert(family, severity="CRITICAL")
    data.update(ALERTS, ("alert_id", updated), severity="LOW")
    data.delete(ALERTS, ("alert_id", updated))
    data.insert_alert(late_family, message="before the family has a citizen")
    data.insert_alert(data.people.uuid(), message="for a family without citizens")


def make_second_changes(data: ScenarioData, keys: FirstKeys) -> None:
    data.insert(SCHEMES, scheme_code=LATE_SCHEME, status="inactive")
    data.update(SCHEMES, ("scheme_code", "STORY_OFF"), status="active")
    data.insert_application(data.insert_person(), id=keys.early_application)
    data.delete(DECISIONS, ("application_id", keys.withdrawn_application))
    data.insert_application(data.insert_person(), id=keys.withdrawn_application)
    data.insert_member(keys.late_family, is_family_head=True)
    head = data.insert_person()
    data.insert(
        "public.citizen_identity_map", citizen_id=head, gr_id=keys.known_family, is_family_head=True
    )  # a head may have no family_id
    data.insert_alert(keys.known_family, message="for the head")
    data.update(
        SNAPSHOTS, ("snapshot_id", keys.hints[5]), evaluation_status="NOT_ELIGIBLE",
        evaluation_timestamp=ago(),
    )  # fmt: skip
    data.delete(SNAPSHOTS, ("snapshot_id", keys.hints[0]))
    newer, older, gone, moved = keys.forecasts
    data.update(FORECASTS, ("forecast_id", newer), generated_at=ago(), scheme_count=9)
    data.update(FORECASTS, ("forecast_id", older), generated_at=ago(days=1), scheme_count=9)
    data.delete(FORECASTS, ("forecast_id", gone))
    data.update(FORECASTS, ("forecast_id", moved), forecast_id=moved + 1_000_000)
    data.insert_forecast(keys.head, projections={})  # breaks a rule
    data.update(PROFILES, ("gr_id", keys.member), family_id=keys.member, updated_at=ago())
    data.delete(DECISIONS, ("application_id", keys.decided[2]))
    data.delete(GOLDEN, ("gr_id", data.insert_golden()))
    data.delete("public.service_applications", ("id", keys.decided[1]))


def ago(**span: float) -> str:
    return (datetime.now(UTC).replace(tzinfo=None) - timedelta(**span)).isoformat()


def make_unmapped_changes(data: ScenarioData, keys: FirstKeys) -> None:
    """Change columns that no mapping reads."""
    data.update(PROFILES, ("gr_id", keys.head), risk_flags="{UNDER_COVERAGE}")
    data.update(FORECASTS, ("forecast_id", keys.forecasts[0]), updated_at=ago())
    data.update(DECISIONS, ("application_id", keys.decided[0]), family_id=keys.head)


def make_changes_without_capture(data: ScenarioData, keys: FirstKeys) -> None:
    """Change the source of each streaming flow, in ways that a batch reads from the final rows."""
    head = data.insert_golden()
    data.update(GOLDEN, ("gr_id", keys.member), city_village="Sojat")
    data.update(GOLDEN, ("gr_id", data.insert_golden()), status="merged")
    data.insert_profile(head, created_at=ago(days=1), updated_at=ago(), cluster_id="JAI-3")
    data.delete(PROFILES, ("gr_id", keys.member))
    data.insert_snapshot(keys.head, "GRAMIN_AWAS", "0.99")
    data.delete(SNAPSHOTS, ("snapshot_id", keys.hints[1]))
    data.insert_forecast(head, generated_at=ago())
    data.delete(FORECASTS, ("forecast_id", keys.forecasts[0]))
    data.insert_decision(data.insert_application(data.insert_person()), risk_score="0.25")
    data.delete(DECISIONS, ("application_id", keys.early_application))
    data.insert_alert(keys.late_family)
