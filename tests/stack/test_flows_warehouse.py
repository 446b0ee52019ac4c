"""The warehouse's flows 1, 3, 5, 6 and 7 on the real stack: a change here is a change there."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from kafka import KafkaConsumer
from sink_stack.testing_stack import StackUnderTest

from sink_runner.testing import NOW

from .flow import Flow
from .running import eventually, row, running
from .writes import delete, insert, update

pytestmark = pytest.mark.stack

FLOWS = ("profiles", "benefit-forecasts", "decisions", "alerts")
LATER, EARLIER = NOW + timedelta(hours=1), NOW - timedelta(hours=1)


@pytest.fixture(scope="module")
def flow(stack: StackUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    log = tmp_path_factory.mktemp("runner") / "log"
    only = ("--only", ",".join(FLOWS))
    with (
        running(stack.env, log, *only, mappings=len(FLOWS)),
        stack.admin("smart_warehouse") as warehouse,
        stack.admin("smart_citizen") as portal,
    ):
        consumer = KafkaConsumer(bootstrap_servers=stack.kafka)
        yield Flow(warehouse, portal, consumer, stack.env)
        consumer.close()


class TestSchemes:
    def test_a_run_switches_on_and_off_and_leaves_the_portal_its_own(self, flow: Flow) -> None:
        for code, status in (("X1", "active"), ("X2", "Inactive"), ("X3", "ACTIVE")):
            scheme = {"scheme_code": code, "scheme_name": code, "category": "FOOD"}
            insert(flow.warehouse, "public.scheme_master", {**scheme, "status": status})
        for code in ("X1", "X2", "X4"):
            own = {"code": code, "name": "Own", "name_hindi": "नाम", "start_date": "2020-04-01"}
            insert(flow.portal, "public.schemes", own)
        flow.batch("schemes", "--full")
        delete(flow.warehouse, "public.scheme_master", ("scheme_code", "X3"))
        flow.batch("schemes", "--full")
        query = "SELECT code, name, name_hindi, status FROM schemes WHERE code LIKE 'X_' ORDER BY 1"
        assert flow.portal.execute(query).fetchall() == [
            ("X1", "X1", "नाम", "ACTIVE"),
            ("X2", "Own", "नाम", "INACTIVE"),
            ("X3", "X3", None, "INACTIVE"),
            ("X4", "Own", "नाम", "ACTIVE"),
        ]


class TestProfiles:
    TABLE = "public.profile_360"
    TOPIC = f"smart_warehouse.{TABLE}"

    def person(self, flow: Flow, family: str | None, **columns: Any) -> str:
        """Somebody with a profile; a head is somebody without a family."""
        record = str(uuid4())
        insert(flow.warehouse, "public.golden_records", {"gr_id": record, "full_name": "Asha"})
        profile = {
            "gr_id": record,
            "family_id": family,
            "profile_data": "{}",
            "inferred_income_band": "VERY_LOW",
            "created_at": EARLIER,
            "updated_at": NOW,
            **columns,
        }
        insert(flow.warehouse, self.TABLE, profile)
        return record

    def test_head_profile_is_family_summary(self, flow: Flow) -> None:
        head = self.person(flow, None, cluster_id="C1", vulnerability_level="HIGH")
        flow.arrives(
            "profile_summary",
            ("family_id", head),
            region="C1",
            vulnerability="HIGH",
            under_coverage=None,
            income_category="CONFIDENTIAL",
        )

    def test_latest_of_family_speaks_whatever_comes_last(self, flow: Flow) -> None:
        family = self.person(flow, None, cluster_id="head")
        key = ("family_id", family)
        flow.arrives("profile_summary", key, region="head")
        member = self.person(flow, family, cluster_id="member", updated_at=LATER)
        flow.arrives("profile_summary", key, region="member", source_updated_at=LATER)
        with flow.applied(self.TOPIC):
            update(flow.warehouse, self.TABLE, ("gr_id", family), {"cluster_id": "head again"})
        assert flow.holds("profile_summary", key, "region") == ("member",)
        update(flow.warehouse, self.TABLE, ("gr_id", member), {"under_coverage_indicator": True})
        flow.arrives("profile_summary", key, region="member", under_coverage=True)

    def test_the_runner_up_returns_when_the_winner_moves_and_when_it_is_deleted(
        self, flow: Flow
    ) -> None:
        family, other = self.person(flow, None, cluster_id="head"), str(uuid4())
        key = ("family_id", family)
        one, two = (
            self.person(flow, family, cluster_id=name, updated_at=LATER + timedelta(hours=n))
            for n, name in enumerate(("one", "two"))
        )
        flow.arrives("profile_summary", key, region="two")
        update(flow.warehouse, self.TABLE, ("gr_id", two), {"family_id": other})
        flow.arrives("profile_summary", key, region="one")
        flow.arrives("profile_summary", ("family_id", other), region="two")
        delete(flow.warehouse, self.TABLE, ("gr_id", one))
        flow.arrives("profile_summary", key, region="head")
        delete(flow.warehouse, "public.golden_records", ("gr_id", family))
        flow.leaves("profile_summary", key)

    @pytest.mark.parametrize("arguments", [(), ("--full",)])
    def test_a_batch_beside_the_events_changes_nothing(
        self, flow: Flow, arguments: tuple[str, ...]
    ) -> None:
        family = self.person(flow, None, cluster_id="head")
        key = ("family_id", family)
        self.person(flow, family, cluster_id="member", updated_at=LATER)
        flow.arrives("profile_summary", key, region="member")
        before = flow.holds("profile_summary", key, "ctid::text", "xmin::text")
        flow.batch("profiles", *arguments)
        assert flow.holds("profile_summary", key, "ctid::text", "xmin::text") == before


class TestForecasts:
    TABLE = "forecast.benefit_forecasts"
    TOPIC = f"smart_warehouse.{TABLE}"

    def forecast(self, flow: Flow, number: int, **columns: Any) -> tuple[str, int]:
        values = {
            "forecast_id": number,
            "family_id": str(uuid4()),
            "total_annual_value": "12000.50",
            "projections": '[{"benefit_amount": 123456789.12345678901234567890, "note": "x"}]',
            "generated_at": NOW,
            **columns,
        }
        insert(flow.warehouse, self.TABLE, values)
        key = ("forecast_id", number)
        flow.arrives("benefit_forecasts", key, generated_at=values["generated_at"])
        return key

    def test_a_forecast_arrives_as_it_is_and_leaves(self, flow: Flow) -> None:
        key = self.forecast(flow, 1)
        found = flow.holds("benefit_forecasts", key, "projections::text", "horizon_months")
        assert found == ('[{"benefit_amount": 123456789.12345678901234567890}]', 12)
        delete(flow.warehouse, self.TABLE, key)
        flow.leaves("benefit_forecasts", key)

    def test_newer_one_wins_and_older_one_does_not(self, flow: Flow) -> None:
        key = self.forecast(flow, 2)
        with flow.applied(self.TOPIC):
            update(flow.warehouse, self.TABLE, key, {"scheme_count": 9, "generated_at": EARLIER})
        assert flow.holds("benefit_forecasts", key, "scheme_count") == (0,)
        update(flow.warehouse, self.TABLE, key, {"scheme_count": 3, "generated_at": LATER})
        flow.arrives("benefit_forecasts", key, scheme_count=3, generated_at=LATER)

    def test_large_projections_that_an_update_left_alone_stay(self, flow: Flow) -> None:
        large = [{"scheme_code": str(uuid4())} for _ in range(500)]
        key = self.forecast(flow, 3, projections=json.dumps(large))
        update(flow.warehouse, self.TABLE, key, {"scheme_count": 4, "generated_at": LATER})
        flow.arrives("benefit_forecasts", key, scheme_count=4)
        assert flow.holds("benefit_forecasts", key, "projections") == (large,)

    def test_what_changes_nothing_mapped_writes_nothing(self, flow: Flow) -> None:
        key = self.forecast(flow, 4)
        before = flow.holds("benefit_forecasts", key, "ctid::text", "xmin::text")
        with flow.applied(self.TOPIC):
            update(flow.warehouse, self.TABLE, key, {"updated_at": LATER})
        assert flow.holds("benefit_forecasts", key, "ctid::text", "xmin::text") == before


def citizen(flow: Flow, **columns: Any) -> str:
    values = {"full_name": "Ravi", "mobile_number": "0123456789", **columns}
    id_ = str(uuid4())
    insert(flow.portal, "public.citizens", {"id": id_, **values})
    return id_


class TestDecisions:
    TABLE = "decision.applications"
    TOPIC = f"smart_warehouse.{TABLE}"

    def application(self, flow: Flow, id_: str, **columns: Any) -> tuple[str, str]:
        values = {"id": id_, "citizen_id": citizen(flow), "service_type": "SCHEME", **columns}
        insert(flow.portal, "public.service_applications", values)
        return ("application_id", id_)

    def decide(self, flow: Flow, id_: str, decision: str, **columns: Any) -> None:
        values = {"decision_timestamp": NOW, "reasons": '["Because."]', **columns}
        insert(flow.warehouse, self.TABLE, {"application_id": id_, "decision": decision, **values})

    def test_a_decision_arrives_is_revised_and_leaves(self, flow: Flow) -> None:
        key = self.application(flow, str(uuid4()))
        self.decide(flow, key[1], "ROUTE_TO_OFFICER", risk_score="0.1250")
        flow.arrives("application_decisions", key, decision_status="ROUTE_TO_OFFICER")
        found = flow.holds("application_decisions", key, "risk_score::text", "decision_reasons")
        assert found == ("0.1250", ["Because."])
        revised = {"decision": "OFFICER_APPROVED", "decision_timestamp": LATER}
        update(flow.warehouse, self.TABLE, key, revised)
        flow.arrives("application_decisions", key, decision_status="OFFICER_APPROVED")
        delete(flow.warehouse, self.TABLE, key)
        flow.leaves("application_decisions", key)

    def test_an_older_one_changes_nothing_and_so_does_another_column(self, flow: Flow) -> None:
        key = self.application(flow, str(uuid4()))
        self.decide(flow, key[1], "AUTO_APPROVED")
        flow.arrives("application_decisions", key, decision_status="AUTO_APPROVED")
        before = flow.holds("application_decisions", key, "ctid::text", "xmin::text")
        older = {"decision": "AUTO_REJECTED", "decision_timestamp": EARLIER}
        for columns in ({"family_id": str(uuid4())}, older):
            with flow.applied(self.TOPIC):
                update(flow.warehouse, self.TABLE, key, columns)
            assert flow.holds("application_decisions", key, "ctid::text", "xmin::text") == before

    def test_the_number_finds_what_the_id_does_not(self, flow: Flow) -> None:
        number = f"APP-{uuid4()}"
        key = self.application(flow, str(uuid4()), application_number=number)
        self.decide(flow, str(uuid4()), "AUTO_REJECTED", application_number=number)
        flow.arrives("application_decisions", key, decision_status="AUTO_REJECTED")

    def test_decisions_wait_for_their_application_in_order(self, flow: Flow) -> None:
        key = ("application_id", str(uuid4()))
        self.decide(flow, key[1], "ROUTE_TO_OFFICER")
        # The last two have one time, so only their order in the log tells which of them stands.
        for decision, reasons in (("OFFICER_REJECTED", '["First."]'), ("OFFICER_APPROVED", "[]")):
            columns = {"decision": decision, "reasons": reasons, "decision_timestamp": LATER}
            with flow.applied(self.TOPIC):
                update(flow.warehouse, self.TABLE, key, columns)
        eventually(lambda: waiting(flow, "decisions") == 3)
        assert flow.holds("application_decisions", key, "1") is None
        self.application(flow, key[1])
        flow.arrives("application_decisions", key, decision_status="OFFICER_APPROVED")
        eventually(lambda: waiting(flow, "decisions") == 0)

    def test_a_decision_that_is_withdrawn_while_it_waits_is_never_there(self, flow: Flow) -> None:
        key = ("application_id", str(uuid4()))
        self.decide(flow, key[1], "AUTO_APPROVED")
        eventually(lambda: waiting(flow, "decisions") == 1)
        delete(flow.warehouse, self.TABLE, key)
        eventually(lambda: waiting(flow, "decisions") == 0)  # superseded
        self.application(flow, key[1])
        another = self.application(flow, str(uuid4()))
        self.decide(flow, another[1], "AUTO_APPROVED")
        flow.arrives("application_decisions", another, decision_status="AUTO_APPROVED")
        assert flow.holds("application_decisions", key, "1") is None


class TestAlerts:
    TABLE = "alerts.ml_alert_outbox"
    TOPIC = f"smart_warehouse.{TABLE}"

    def alert(self, flow: Flow, family: str, **columns: Any) -> tuple[str, str]:
        id_ = str(uuid4())
        values = {
            "alert_id": id_,
            "family_id": family,
            "alert_type": "BENEFIT_EXPIRY",
            "severity": "HIGH",
            "message": "Call 9876545678, band VERY_LOW",
            **columns,
        }
        insert(flow.warehouse, self.TABLE, values)
        return ("alert_id", id_)

    def member(self, flow: Flow, family: str, *, head: bool = False) -> str:
        id_ = citizen(flow, verification_status="VERIFIED")
        known = {"citizen_id": id_, "family_id": family, "is_family_head": head}
        insert(flow.portal, "public.citizen_identity_map", known)
        return id_

    def who(self, flow: Flow, key: tuple[str, str]) -> Any:
        found = flow.holds("ml_alerts", key, "citizen_id::text")
        return found and found[0]

    def test_an_alert_reaches_the_head_once_and_scrubbed(self, flow: Flow) -> None:
        family = str(uuid4())
        self.member(flow, family)
        head = self.member(flow, family, head=True)
        key = self.alert(flow, family)
        flow.arrives("ml_alerts", key, message="Call ***MASKED***, band CONFIDENTIAL")
        assert self.who(flow, key) == head
        for change in (
            lambda: update(flow.warehouse, self.TABLE, key, {"message": "Other"}),
            lambda: delete(flow.warehouse, self.TABLE, key),
        ):
            with flow.applied(self.TOPIC):
                change()
            found = flow.holds("ml_alerts", key, "message")
            assert found == ("Call ***MASKED***, band CONFIDENTIAL",)

    def test_an_alert_for_nobody_waits_and_holds_up_no_other(self, flow: Flow) -> None:
        unknown, known = str(uuid4()), str(uuid4())
        early = self.alert(flow, unknown)
        eventually(lambda: waiting(flow, "alerts") == 1)
        self.member(flow, known)
        late = self.alert(flow, known)
        eventually(lambda: self.who(flow, late))
        assert self.who(flow, early) is None
        citizen_id = self.member(flow, unknown)
        assert eventually(lambda: self.who(flow, early)) == citizen_id
        eventually(lambda: waiting(flow, "alerts") == 0)


def waiting(flow: Flow, mapping: str) -> int:
    """How many events wait; what they are is encrypted."""
    query = "SELECT count(*) FROM sink.dead_letter WHERE flow = %s AND status = 'PARKED'"
    return int(row(flow.portal, query, mapping)[0])


def test_nothing_became_a_dead_letter(flow: Flow) -> None:
    query = """SELECT count(*) FROM sink.dead_letter
               WHERE flow = ANY (%s) AND status IN ('OPEN', 'PARKED')"""
    assert row(flow.portal, query, list(FLOWS)) == (0,)
