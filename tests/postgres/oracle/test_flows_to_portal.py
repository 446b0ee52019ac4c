"""Expected rows of flows 1, 3, 5, 6 and 7, for histories small enough to check by hand."""

import pytest

from .conftest import uuid_of

pytestmark = pytest.mark.postgres
MASTER, SCHEMES = "public.scheme_master", "public.schemes"
PROFILES, FORECASTS = "public.profile_360", "forecast.benefit_forecasts"
DECISIONS, APPLICATIONS = "decision.applications", "public.service_applications"
ALERTS, IDENTITIES = "alerts.ml_alert_outbox", "public.citizen_identity_map"
CITIZENS, GOLDEN = "public.citizens", "public.golden_records"
FAMILY = uuid_of("family")
EARLIER, LATER = "2026-03-01T10:00:00", "2026-03-02T10:00:00"


class TestSchemes:
    def statuses(self, databases):
        return {key: row["status"] for key, row in databases.compute_rows("schemes").items()}

    @pytest.mark.parametrize("status", ["active", "ACTIVE", "Active"])
    def test_active_scheme_is_active_in_any_case(self, databases, status):
        databases.insert(MASTER, scheme_code="A", status=status, benefits_json=[1])
        row = databases.compute_rows("schemes")["A"]
        assert (row["status"], row["benefits"], row["name_hindi"]) == ("ACTIVE", [1], None)

    def test_ended_schemes_become_inactive_and_others_stay(self, databases):
        for code in "ABC":
            databases.insert(MASTER, scheme_code=code)
            databases.insert(SCHEMES, code=code)
        databases.insert(SCHEMES, code="OWN", status="CLOSED")
        databases.update(MASTER, ("scheme_code", "A"), status="Archived")
        databases.delete(MASTER, scheme_code="B")
        databases.insert(MASTER, scheme_code="NEVER_ACTIVE", status="inactive")
        assert self.statuses(databases) == {
            "A": "INACTIVE", "B": "INACTIVE", "C": "ACTIVE", "OWN": "CLOSED",
        }  # fmt: skip

    def test_renamed_code_becomes_inactive(self, databases):
        databases.insert(MASTER, scheme_code="A")
        databases.insert(SCHEMES, code="A")
        databases.update(MASTER, ("scheme_code", "A"), scheme_code="B")
        assert self.statuses(databases) == {"A": "INACTIVE", "B": "ACTIVE"}

    def test_portal_columns_are_kept(self, databases):
        databases.insert(MASTER, scheme_code="A")
        databases.insert(SCHEMES, id=uuid_of("A"), code="A", name_hindi="अ", end_date="2030-01-01")
        row = databases.compute_rows("schemes")["A"]
        assert (row["id"], row["name_hindi"]) == (uuid_of("A"), "अ")
        assert (row["end_date"], row["name"]) == ("2030-01-01", "A scheme")


class TestProfileSummary:
    def insert_golden_records(self, databases, *names):
        for name in names:
            databases.insert(GOLDEN, gr_id=uuid_of(name))

    def regions(self, databases):
        return {
            key: row["region"] for key, row in databases.compute_rows("profile_summary").items()
        }

    def test_income_band_of_family_is_hidden(self, databases):
        self.insert_golden_records(databases, "head")
        databases.insert(PROFILES, gr_id=uuid_of("head"), updated_at=EARLIER)
        assert databases.compute_rows("profile_summary") == {
            uuid_of("head"): {
                "vulnerability": None, "under_coverage": None, "income_category": "CONFIDENTIAL",
                "region": None, "source_updated_at": EARLIER,
            }
        }  # fmt: skip

    def test_newest_profile_of_family_wins(self, databases):
        self.insert_golden_records(databases, "head", "member")
        head = uuid_of("head")
        databases.insert(PROFILES, gr_id=head, updated_at=LATER, cluster_id="1")
        databases.insert(
            PROFILES, gr_id=uuid_of("member"), family_id=head, updated_at=EARLIER, cluster_id="2"
        )
        assert self.regions(databases) == {head: "1"}
        databases.update(PROFILES, ("gr_id", head), family_id=uuid_of("other"))
        assert self.regions(databases) == {head: "2", uuid_of("other"): "1"}
        databases.delete(GOLDEN, gr_id=head)
        assert self.regions(databases) == {head: "2"}

    def test_older_time_loses_and_later_tie_wins(self, databases):
        self.insert_golden_records(databases, "head")
        databases.insert(PROFILES, gr_id=uuid_of("head"), updated_at=LATER, cluster_id="1")
        databases.update(PROFILES, ("gr_id", uuid_of("head")), updated_at=EARLIER, cluster_id="2")
        assert self.regions(databases) == {uuid_of("head"): "1"}
        databases.update(PROFILES, ("gr_id", uuid_of("head")), updated_at=LATER, cluster_id="3")
        assert self.regions(databases) == {uuid_of("head"): "3"}

    @pytest.mark.parametrize(
        "invalid", [{"vulnerability_level": "AWFUL"}, {"created_at": "2027-01-01"}]
    )
    def test_invalid_version_is_ignored(self, databases, invalid):
        self.insert_golden_records(databases, "head")
        databases.insert(PROFILES, gr_id=uuid_of("head"), updated_at=EARLIER, cluster_id="1")
        databases.update(
            PROFILES, ("gr_id", uuid_of("head")), updated_at=LATER, cluster_id="2", **invalid
        )
        assert self.regions(databases) == {uuid_of("head"): "1"}


class TestBenefitForecasts:
    def counts(self, databases):
        return {
            key: row["scheme_count"]
            for key, row in databases.compute_rows("benefit_forecasts").items()
        }

    def test_newest_generation_wins_and_deletion_removes(self, databases):
        databases.insert(FORECASTS, forecast_id=1, generated_at=LATER, scheme_count=1)
        databases.update(FORECASTS, ("forecast_id", 1), generated_at=EARLIER, scheme_count=2)
        assert self.counts(databases) == {"1": 1}
        databases.update(FORECASTS, ("forecast_id", 1), generated_at=LATER, scheme_count=3)
        assert self.counts(databases) == {"1": 3}
        databases.delete(FORECASTS, forecast_id=1)
        assert not self.counts(databases)
        databases.insert(FORECASTS, forecast_id=1, generated_at=EARLIER, scheme_count=4)
        assert self.counts(databases) == {"1": 4}

    def test_projection_keeps_only_specified_columns(self, databases):
        projections = [
            {"scheme_code": "NREGA", "aadhaar": "1", "metadata": {"scheme_code": "x"}},
            7,
        ]
        databases.insert(FORECASTS, forecast_id=1, generated_at=LATER, projections=projections)
        (row,) = databases.compute_rows("benefit_forecasts").values()
        assert row["projections"] == [{"scheme_code": "NREGA"}]

    def test_projections_must_be_array(self, databases):
        databases.insert(FORECASTS, forecast_id=1, projections={})
        assert not self.counts(databases)


class TestApplicationDecisions:
    @pytest.fixture(autouse=True)
    def application(self, databases):
        databases.insert(CITIZENS, id=uuid_of("c"))
        databases.insert(
            APPLICATIONS, id=uuid_of("app"), application_number="N1", citizen_id=uuid_of("c")
        )

    def decisions(self, databases):
        rows = databases.compute_rows("application_decisions")
        return {key: row["decision_status"] for key, row in rows.items()}

    def insert_decision(self, databases, name, when, **columns):
        databases.insert(
            DECISIONS, application_id=uuid_of(name), decision_timestamp=when, **columns
        )

    def test_application_is_matched_by_id_then_number(self, databases):
        self.insert_decision(databases, "app", EARLIER, application_number="N2")
        assert self.decisions(databases) == {uuid_of("app"): "AUTO_APPROVE"}
        databases.delete(DECISIONS, application_id=uuid_of("app"))
        self.insert_decision(databases, "other", EARLIER, application_number="N1")
        assert self.decisions(databases) == {uuid_of("app"): "AUTO_APPROVE"}

    def test_decision_is_deferred_until_application_exists(self, databases):
        self.insert_decision(databases, "new", EARLIER)
        assert not self.decisions(databases)
        databases.insert(APPLICATIONS, id=uuid_of("new"), citizen_id=uuid_of("c"))
        assert self.decisions(databases)

    def test_newest_decision_wins_until_it_is_deleted(self, databases):
        self.insert_decision(databases, "app", EARLIER, decision="ROUTE_TO_FRAUD")
        self.insert_decision(databases, "other", LATER, application_number="N1")
        assert self.decisions(databases) == {uuid_of("app"): "AUTO_APPROVE"}
        databases.delete(DECISIONS, application_id=uuid_of("other"))
        assert self.decisions(databases) == {uuid_of("app"): "ROUTE_TO_FRAUD"}

    def test_deleted_application_removes_its_decision(self, databases):
        self.insert_decision(databases, "app", EARLIER)
        databases.delete(CITIZENS, id=uuid_of("c"))
        assert not self.decisions(databases)

    def test_reasons_must_be_array(self, databases):
        self.insert_decision(databases, "app", EARLIER, reasons={})
        assert not self.decisions(databases)


class TestAlerts:
    def recipients(self, databases):
        return {key: row["citizen_id"] for key, row in databases.compute_rows("ml_alerts").items()}

    def insert_member(self, databases, name, created, *, verified="VERIFIED", **identity):
        databases.insert(
            CITIZENS, id=uuid_of(name), created_at=created, verification_status=verified
        )
        databases.insert(IDENTITIES, citizen_id=uuid_of(name), **{"family_id": FAMILY, **identity})

    def insert_alert(self, databases, **columns):
        databases.insert(ALERTS, alert_id=uuid_of("alert"), family_id=FAMILY, **columns)

    @pytest.mark.parametrize(
        ("alert_type", "expected"),
        [
            ("BENEFIT_EXPIRY", "BENEFIT_EXPIRY"),
            ("A_1234", "A_1234"),
            *((text, "OTHER") for text in ("call 0123456789", "A_12345", "a", "")),
        ],
    )
    def test_alert_type_is_code_and_link_loses_query(self, databases, alert_type, expected):
        self.insert_member(databases, "head", EARLIER, is_family_head=True)
        self.insert_alert(databases, alert_type=alert_type, action_url="/apply?mobile=0123456789#x")
        row = databases.compute_rows("ml_alerts")[uuid_of("alert")]
        assert (row["alert_type"], row["action_url"]) == (expected, "/apply")

    def test_family_head_receives_alert(self, databases):
        self.insert_member(databases, "first", EARLIER)
        self.insert_member(
            databases, "head", LATER, is_family_head=True, family_id=None, gr_id=FAMILY
        )
        self.insert_alert(databases)
        assert self.recipients(databases) == {uuid_of("alert"): uuid_of("head")}

    def test_earliest_verified_member_receives_alert_without_head(self, databases):
        self.insert_member(databases, "pending", "2020-01-01", verified="PENDING")
        self.insert_member(databases, "second", LATER)
        self.insert_member(databases, "first", EARLIER, verified="verified")
        self.insert_alert(databases)
        assert self.recipients(databases) == {uuid_of("alert"): uuid_of("first")}

    def test_deferred_alert_keeps_its_first_recipient(self, databases):
        self.insert_alert(databases)
        assert not self.recipients(databases)
        self.insert_member(databases, "member", LATER)
        self.insert_member(databases, "head", LATER, is_family_head=True)
        assert self.recipients(databases) == {uuid_of("alert"): uuid_of("member")}
        databases.delete(CITIZENS, id=uuid_of("member"))
        assert not self.recipients(databases)

    def test_delivered_alert_never_changes(self, databases):
        self.insert_member(databases, "head", EARLIER, is_family_head=True)
        self.insert_alert(databases)
        databases.update(ALERTS, ("alert_id", uuid_of("alert")), severity="HIGH")
        databases.delete(ALERTS, alert_id=uuid_of("alert"))
        assert databases.compute_rows("ml_alerts")[uuid_of("alert")]["severity"] == "LOW"
