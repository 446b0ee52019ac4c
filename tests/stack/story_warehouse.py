"""The warehouse's part of the scenario, flows 1 to 7: what `first` begins, `second` ends."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from .cast import Cast

GOLDEN, PROFILES = "public.golden_records", "public.profile_360"
SCHEMES, SNAPSHOTS = "public.scheme_master", "eligibility.eligibility_snapshots"
FORECASTS, DECISIONS = "forecast.benefit_forecasts", "decision.applications"
ALERTS = "alerts.ml_alert_outbox"
SCHEME_CODES = ("CHIRANJEEVI", "VISHESH_LABH", "GRAMIN_AWAS", "NREGA", "KISAN_CREDIT", "STORY_NEW")
WAITED_FOR = "MAHATMA_GANDHI_NREGA"
"""A scheme that at first only the portal has."""
BROKEN = {
    "golden-records": 1,
    "profiles": 2,
    "eligibility-snapshots": 2,
    "benefit-forecasts": 1,
    "decisions": 1,
}
"""How many rows of each mapping break a rule."""


@dataclass(slots=True, kw_only=True)
class Begun:
    """What goes on in `second`."""

    head: str
    member: str
    hints: list[int]
    forecasts: list[int]
    told_family: str
    waiting_family: str
    early_application: str
    withdrawn_application: str
    decided: list[str]


def before(cast: Cast) -> None:
    """Schemes that the first batch brings, to be dropped and renamed later."""
    for code in ("STORY_DROPPED", "STORY_RENAMED", "STORY_OFF"):
        cast.insert(SCHEMES, scheme_code=code, status="Active", benefits_json=[code])


def first(cast: Cast) -> Begun:
    schemes(cast)
    head, member = golden_records(cast)
    profiles(cast, head, member)
    # Stored out of line: the update in `second` leaves it alone, and its event does not have it.
    large = {"projections": [{"scheme_code": cast.people.uuid()} for _ in range(500)]}
    forecasts = [
        cast.forecast(head, generated_at=ago(minutes=place), **large if place == 0 else {})
        for place in range(4)
    ]
    told, waiting = cast.people.uuid(), cast.people.uuid()
    alerts(cast, told, waiting)
    early, withdrawn, decided = decisions(cast)
    return Begun(
        head=head,
        member=member,
        hints=snapshots(cast, head, member),
        forecasts=forecasts,
        told_family=told,
        waiting_family=waiting,
        early_application=early,
        withdrawn_application=withdrawn,
        decided=decided,
    )


def schemes(cast: Cast) -> None:
    cast.insert(SCHEMES, scheme_code="STORY_NEW", status="ACTIVE", eligibility_criteria_json={})
    cast.insert(SCHEMES, scheme_code="STORY_NEVER", status="archived")
    cast.update(SCHEMES, ("scheme_code", "STORY_OFF"), status="Inactive")
    cast.update(SCHEMES, ("scheme_code", "NREGA"), scheme_name="Work for all", description=None)
    cast.update(SCHEMES, ("scheme_code", "STORY_RENAMED"), scheme_code="STORY_NAMED")
    cast.delete(SCHEMES, ("scheme_code", "STORY_DROPPED"))


def golden_records(cast: Cast) -> tuple[str, str]:
    head = cast.golden()
    member = cast.golden(family_id=head, gender=None)
    gone, merged, moved = (cast.golden(family_id=head) for _ in range(3))
    cast.golden(created_at=ago(days=-1), updated_at=ago())  # breaks a rule
    cast.delete(GOLDEN, ("gr_id", gone))
    cast.update(GOLDEN, ("gr_id", merged), status="Merged")
    cast.update(GOLDEN, ("gr_id", merged), status="ACTIVE", jan_aadhaar=None)
    cast.update(GOLDEN, ("gr_id", moved), gr_id=cast.people.uuid(), status="INACTIVE")
    cast.update(GOLDEN, ("gr_id", head), age=50)  # carries nothing
    with cast.warehouse.transaction():  # two versions of one time
        cast.update(GOLDEN, ("gr_id", member), city_village="Deeg")
        cast.update(GOLDEN, ("gr_id", member), city_village="Nagaur")
    return head, member


def profiles(cast: Cast, head: str, member: str) -> None:
    cast.profile(head, created_at=ago(days=9), updated_at=ago(hours=2), cluster_id="JAI-1")
    cast.profile(
        member, family_id=head, created_at=ago(days=9), updated_at=ago(hours=1), cluster_id="JAI-2",
        inferred_income_band="LOW",
    )  # fmt: skip
    key = ("gr_id", head)
    cast.update(PROFILES, key, updated_at=ago(hours=3), cluster_id="JAI-OLD")
    cast.update(PROFILES, key, updated_at=ago(), vulnerability_level="AWFUL")  # breaks a rule
    cast.update(
        PROFILES, key, updated_at=ago(days=10), vulnerability_level="LOW"
    )  # older than its creation, which breaks a rule


def snapshots(cast: Cast, head: str, member: str) -> list[int]:
    made = [
        cast.snapshot(head, code, f"0.{place + 3}", evaluation_timestamp=ago(hours=1))
        for place, code in enumerate(SCHEME_CODES)
    ]
    large = "".join(cast.people.uuid() for _ in range(500))
    explained = cast.snapshot(
        head, "NREGA", "0.99", member_id=member, explanation=large,
        evaluation_timestamp=ago(minutes=2),
    )  # fmt: skip
    cast.update(
        SNAPSHOTS, ("snapshot_id", explained), eligibility_score="0.995",
        evaluation_timestamp=ago(minutes=1),
    )  # fmt: skip
    cast.snapshot(head, "KISAN_CREDIT", "0.1", evaluation_status="ERROR")
    cast.snapshot(head, "VISHESH_LABH", "1.5")  # breaks a rule
    cast.snapshot(head, "VISHESH_LABH", "0.9", evaluation_status="SPLENDID")  # another
    cast.snapshot(member, "NREGA", "0.125", evaluation_timestamp=ago(days=31))
    cast.snapshot(member, "CHIRANJEEVI", "0.125", confidence_score=None)
    return made


def decisions(cast: Cast) -> tuple[str, str, list[str]]:
    """Two decisions before their applications; and three on applications that are there."""
    early, withdrawn = cast.people.uuid(), cast.people.uuid()
    cast.decide(withdrawn, decision="AUTO_APPROVE", decision_timestamp=ago(minutes=2))
    cast.decide(early, decision="AUTO_APPROVE", decision_timestamp=ago(minutes=2))
    cast.update(DECISIONS, ("application_id", early), decision="OFFICER_APPROVED",
                decision_timestamp=ago(minutes=1))  # fmt: skip
    citizen = cast.person()
    decided = [cast.apply(citizen, application_number=f"STORY-{cast.serial()}") for _ in range(3)]
    for application in decided:
        cast.decide(application, risk_score="0.1", decision_timestamp=ago(minutes=9))
    number = cast.citizen.execute(
        "SELECT application_number FROM service_applications WHERE id = %s", [decided[0]]
    ).fetchone()
    assert number is not None
    cast.decide(cast.people.uuid(), application_number=number[0], decision="ROUTE_TO_FRAUD")
    cast.update(DECISIONS, ("application_id", decided[1]), family_id=early)  # carries nothing
    cast.update(DECISIONS, ("application_id", decided[1]), reasons={}, decision_timestamp=ago())
    return early, withdrawn, decided


def alerts(cast: Cast, family: str, waiting: str) -> None:
    cast.member(family)
    cast.alert(family, message="Income band VERY_LOW of 012345678901, write to a@example.in")
    cast.alert(family, message="A LOW income, a HIGH risk, call 0123456789")
    cast.alert(family, alert_type="Call 0123456789", action_url="/apply?mobile=0123456789")
    told = cast.alert(family, severity="CRITICAL")
    cast.update(ALERTS, ("alert_id", told), severity="LOW")
    cast.delete(ALERTS, ("alert_id", told))
    cast.alert(waiting, message="before anybody is known")
    cast.alert(cast.people.uuid(), message="nobody is ever known")


def second(cast: Cast, begun: Begun) -> None:
    cast.insert(SCHEMES, scheme_code=WAITED_FOR, status="inactive")
    cast.update(SCHEMES, ("scheme_code", "STORY_OFF"), status="active")
    cast.apply(cast.person(), id=begun.early_application)
    cast.delete(DECISIONS, ("application_id", begun.withdrawn_application))
    cast.apply(cast.person(), id=begun.withdrawn_application)
    cast.member(begun.waiting_family, is_family_head=True)
    head = cast.person()
    cast.insert(
        "public.citizen_identity_map", citizen_id=head, gr_id=begun.told_family, is_family_head=True
    )  # a head may stand there without a family
    cast.alert(begun.told_family, message="for the head")
    cast.update(
        SNAPSHOTS, ("snapshot_id", begun.hints[5]), evaluation_status="NOT_ELIGIBLE",
        evaluation_timestamp=ago(),
    )  # fmt: skip
    cast.delete(SNAPSHOTS, ("snapshot_id", begun.hints[0]))
    newer, older, gone, moved = begun.forecasts
    cast.update(FORECASTS, ("forecast_id", newer), generated_at=ago(), scheme_count=9)
    cast.update(FORECASTS, ("forecast_id", older), generated_at=ago(days=1), scheme_count=9)
    cast.delete(FORECASTS, ("forecast_id", gone))
    cast.update(FORECASTS, ("forecast_id", moved), forecast_id=moved + 1_000_000)
    cast.forecast(begun.head, projections={})  # breaks a rule
    cast.update(PROFILES, ("gr_id", begun.member), family_id=begun.member, updated_at=ago())
    cast.delete(DECISIONS, ("application_id", begun.decided[2]))
    cast.delete(GOLDEN, ("gr_id", cast.golden()))
    cast.delete("public.service_applications", ("id", begun.decided[1]))


def ago(**span: float) -> str:
    return (datetime.now(UTC).replace(tzinfo=None) - timedelta(**span)).isoformat()


def idle(cast: Cast, begun: Begun) -> None:
    """Changes of columns that nobody maps."""
    cast.update(PROFILES, ("gr_id", begun.head), risk_flags="{UNDER_COVERAGE}")
    cast.update(FORECASTS, ("forecast_id", begun.forecasts[0]), updated_at=ago())
    cast.update(DECISIONS, ("application_id", begun.decided[0]), family_id=begun.head)


def unseen(cast: Cast, begun: Begun) -> None:
    """Changes of every event flow, whose end tells all of them: a batch sees no more."""
    head = cast.golden()
    cast.update(GOLDEN, ("gr_id", begun.member), city_village="Sojat")
    cast.update(GOLDEN, ("gr_id", cast.golden()), status="merged")
    cast.profile(head, created_at=ago(days=1), updated_at=ago(), cluster_id="JAI-3")
    cast.delete(PROFILES, ("gr_id", begun.member))
    cast.snapshot(begun.head, "GRAMIN_AWAS", "0.99")
    cast.delete(SNAPSHOTS, ("snapshot_id", begun.hints[1]))
    cast.forecast(head, generated_at=ago())
    cast.delete(FORECASTS, ("forecast_id", begun.forecasts[0]))
    cast.decide(cast.apply(cast.person()), risk_score="0.25")
    cast.delete(DECISIONS, ("application_id", begun.early_application))
    cast.alert(begun.waiting_family)
