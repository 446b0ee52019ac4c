"""What the oracle says about flows 1, 3, 5, 6 and 7, on stories small enough to check by eye."""

import pytest

from .conftest import one

pytestmark = pytest.mark.postgres
MASTER, SCHEMES = "public.scheme_master", "public.schemes"
PROFILES, FORECASTS = "public.profile_360", "forecast.benefit_forecasts"
DECISIONS, APPLICATIONS = "decision.applications", "public.service_applications"
ALERTS, KNOWN = "alerts.ml_alert_outbox", "public.citizen_identity_map"
CITIZENS, GOLDEN = "public.citizens", "public.golden_records"
FAMILY = one("family")
EARLIER, LATER = "2026-03-01T10:00:00", "2026-03-02T10:00:00"


class TestSchemes:
    def status(self, told):
        return {key: row["status"] for key, row in told.expected("schemes").items()}

    @pytest.mark.parametrize("status", ["active", "ACTIVE", "Active"])
    def test_an_active_scheme_is_on_in_any_case(self, told, status):
        told.insert(MASTER, scheme_code="A", status=status, benefits_json=[1])
        row = told.expected("schemes")["A"]
        assert (row["status"], row["benefits"], row["name_hindi"]) == ("ACTIVE", [1], None)

    def test_ended_schemes_are_off_and_others_stay(self, told):
        for code in "ABC":
            told.insert(MASTER, scheme_code=code)
            told.insert(SCHEMES, code=code)
        told.insert(SCHEMES, code="OWN", status="CLOSED")
        told.update(MASTER, ("scheme_code", "A"), status="Archived")
        told.delete(MASTER, scheme_code="B")
        told.insert(MASTER, scheme_code="NEVER", status="inactive")
        assert self.status(told) == {
            "A": "INACTIVE", "B": "INACTIVE", "C": "ACTIVE", "OWN": "CLOSED",
        }  # fmt: skip

    def test_a_code_that_was_renamed_is_off(self, told):
        told.insert(MASTER, scheme_code="A")
        told.insert(SCHEMES, code="A")
        told.update(MASTER, ("scheme_code", "A"), scheme_code="B")
        assert self.status(told) == {"A": "INACTIVE", "B": "ACTIVE"}

    def test_what_only_the_portal_knows_survives(self, told):
        told.insert(MASTER, scheme_code="A")
        told.insert(SCHEMES, id=one("A"), code="A", name_hindi="अ", end_date="2030-01-01")
        row = told.expected("schemes")["A"]
        assert (row["id"], row["name_hindi"]) == (one("A"), "अ")
        assert (row["end_date"], row["name"]) == ("2030-01-01", "A scheme")


class TestProfileSummary:
    def golden(self, told, *names):
        for name in names:
            told.insert(GOLDEN, gr_id=one(name))

    def regions(self, told):
        return {key: row["region"] for key, row in told.expected("profile_summary").items()}

    def test_income_band_of_family_is_hidden(self, told):
        self.golden(told, "head")
        told.insert(PROFILES, gr_id=one("head"), updated_at=EARLIER)
        assert told.expected("profile_summary") == {
            one("head"): {
                "vulnerability": None, "under_coverage": None, "income_category": "CONFIDENTIAL",
                "region": None, "source_updated_at": EARLIER,
            }
        }  # fmt: skip

    def test_the_newest_profile_of_a_family_tells(self, told):
        self.golden(told, "head", "member")
        head = one("head")
        told.insert(PROFILES, gr_id=head, updated_at=LATER, cluster_id="1")
        told.insert(
            PROFILES, gr_id=one("member"), family_id=head, updated_at=EARLIER, cluster_id="2"
        )
        assert self.regions(told) == {head: "1"}
        told.update(PROFILES, ("gr_id", head), family_id=one("other"))
        assert self.regions(told) == {head: "2", one("other"): "1"}
        told.delete(GOLDEN, gr_id=head)
        assert self.regions(told) == {head: "2"}

    def test_older_time_loses_and_later_tie_wins(self, told):
        self.golden(told, "head")
        told.insert(PROFILES, gr_id=one("head"), updated_at=LATER, cluster_id="1")
        told.update(PROFILES, ("gr_id", one("head")), updated_at=EARLIER, cluster_id="2")
        assert self.regions(told) == {one("head"): "1"}
        told.update(PROFILES, ("gr_id", one("head")), updated_at=LATER, cluster_id="3")
        assert self.regions(told) == {one("head"): "3"}

    @pytest.mark.parametrize(
        "broken", [{"vulnerability_level": "AWFUL"}, {"created_at": "2027-01-01"}]
    )
    def test_version_that_breaks_rule_is_set_aside(self, told, broken):
        self.golden(told, "head")
        told.insert(PROFILES, gr_id=one("head"), updated_at=EARLIER, cluster_id="1")
        told.update(PROFILES, ("gr_id", one("head")), updated_at=LATER, cluster_id="2", **broken)
        assert self.regions(told) == {one("head"): "1"}


class TestBenefitForecasts:
    def counts(self, told):
        return {key: row["scheme_count"] for key, row in told.expected("benefit_forecasts").items()}

    def test_newer_generation_wins_and_deleted_one_goes(self, told):
        told.insert(FORECASTS, forecast_id=1, generated_at=LATER, scheme_count=1)
        told.update(FORECASTS, ("forecast_id", 1), generated_at=EARLIER, scheme_count=2)
        assert self.counts(told) == {"1": 1}
        told.update(FORECASTS, ("forecast_id", 1), generated_at=LATER, scheme_count=3)
        assert self.counts(told) == {"1": 3}
        told.delete(FORECASTS, forecast_id=1)
        assert not self.counts(told)
        told.insert(FORECASTS, forecast_id=1, generated_at=EARLIER, scheme_count=4)
        assert self.counts(told) == {"1": 4}

    def test_of_a_projection_what_is_specified_alone(self, told):
        rows = [{"scheme_code": "NREGA", "aadhaar": "1", "metadata": {"scheme_code": "x"}}, 7]
        told.insert(FORECASTS, forecast_id=1, generated_at=LATER, projections=rows)
        (row,) = told.expected("benefit_forecasts").values()
        assert row["projections"] == [{"scheme_code": "NREGA"}]

    def test_projections_that_are_no_array_are_set_aside(self, told):
        told.insert(FORECASTS, forecast_id=1, projections={})
        assert not self.counts(told)


class TestApplicationDecisions:
    @pytest.fixture(autouse=True)
    def application(self, told):
        told.insert(CITIZENS, id=one("c"))
        told.insert(APPLICATIONS, id=one("app"), application_number="N1", citizen_id=one("c"))

    def decided(self, told):
        rows = told.expected("application_decisions")
        return {key: row["decision_status"] for key, row in rows.items()}

    def decide(self, told, name, when, **columns):
        told.insert(DECISIONS, application_id=one(name), decision_timestamp=when, **columns)

    def test_application_is_known_by_id_else_by_number(self, told):
        self.decide(told, "app", EARLIER, application_number="N2")
        assert self.decided(told) == {one("app"): "AUTO_APPROVE"}
        told.delete(DECISIONS, application_id=one("app"))
        self.decide(told, "else", EARLIER, application_number="N1")
        assert self.decided(told) == {one("app"): "AUTO_APPROVE"}

    def test_one_that_has_not_arrived_has_none_yet(self, told):
        self.decide(told, "new", EARLIER)
        assert not self.decided(told)
        told.insert(APPLICATIONS, id=one("new"), citizen_id=one("c"))
        assert self.decided(told)

    def test_of_two_decisions_newer_stands_and_then_other(self, told):
        self.decide(told, "app", EARLIER, decision="ROUTE_TO_FRAUD")
        self.decide(told, "else", LATER, application_number="N1")
        assert self.decided(told) == {one("app"): "AUTO_APPROVE"}
        told.delete(DECISIONS, application_id=one("else"))
        assert self.decided(told) == {one("app"): "ROUTE_TO_FRAUD"}

    def test_application_that_is_gone_takes_its_decision_along(self, told):
        self.decide(told, "app", EARLIER)
        told.delete(CITIZENS, id=one("c"))
        assert not self.decided(told)

    def test_reasons_that_are_no_array_are_set_aside(self, told):
        self.decide(told, "app", EARLIER, reasons={})
        assert not self.decided(told)


class TestAlerts:
    def given(self, told):
        return {key: row["citizen_id"] for key, row in told.expected("ml_alerts").items()}

    def member(self, told, name, created, *, verified="VERIFIED", **known):
        told.insert(CITIZENS, id=one(name), created_at=created, verification_status=verified)
        told.insert(KNOWN, citizen_id=one(name), **{"family_id": FAMILY, **known})

    def alert(self, told, **columns):
        told.insert(ALERTS, alert_id=one("alert"), family_id=FAMILY, **columns)

    @pytest.mark.parametrize(
        ("kind", "shown"),
        [
            ("BENEFIT_EXPIRY", "BENEFIT_EXPIRY"),
            ("A_1234", "A_1234"),
            *((text, "OTHER") for text in ("call 0123456789", "A_12345", "a", "")),
        ],
    )
    def test_type_is_code_and_link_has_no_query(self, told, kind, shown):
        self.member(told, "head", EARLIER, is_family_head=True)
        self.alert(told, alert_type=kind, action_url="/apply?mobile=0123456789#x")
        row = told.expected("ml_alerts")[one("alert")]
        assert (row["alert_type"], row["action_url"]) == (shown, "/apply")

    def test_the_head_is_told(self, told):
        self.member(told, "first", EARLIER)
        self.member(told, "head", LATER, is_family_head=True, family_id=None, gr_id=FAMILY)
        self.alert(told)
        assert self.given(told) == {one("alert"): one("head")}

    def test_else_the_verified_member_that_was_created_first(self, told):
        self.member(told, "pending", "2020-01-01", verified="PENDING")
        self.member(told, "second", LATER)
        self.member(told, "first", EARLIER, verified="verified")
        self.alert(told)
        assert self.given(told) == {one("alert"): one("first")}

    def test_alert_waits_for_somebody_and_stays_with_them(self, told):
        self.alert(told)
        assert not self.given(told)
        self.member(told, "member", LATER)
        self.member(told, "head", LATER, is_family_head=True)
        assert self.given(told) == {one("alert"): one("member")}
        told.delete(CITIZENS, id=one("member"))
        assert not self.given(told)

    def test_what_was_told_stays_told(self, told):
        self.member(told, "head", EARLIER, is_family_head=True)
        self.alert(told)
        told.update(ALERTS, ("alert_id", one("alert")), severity="HIGH")
        told.delete(ALERTS, alert_id=one("alert"))
        assert told.expected("ml_alerts")[one("alert")]["severity"] == "LOW"
