"""Masked reads of the warehouse: which row they return, and what the caller's group may see."""

import json
import shutil
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg
import pytest

from sink_runner.api.masked_query import MaskedQuery
from sink_runner.api.problems import ProblemError
from sink_runner.api.services import _pool
from sink_runner.config.dsn import Dsn
from sink_runner.errors import ConfigError
from sink_runner.masking.policy import load_policies
from sink_runner.masking.policy_watch import PolicyWatch

from ...support.api_service import ROOT
from ...unit.api.test_callbacks import problem

pytestmark = pytest.mark.postgres
POLICIES = ROOT / "ranger-policies"
AADHAAR_OF = "SELECT jan_aadhaar AS x FROM golden_records WHERE gr_id = %(id)s::uuid"
AADHAAR, MOBILE, EMAIL = "123412341234", "9876543210", "asha@example.com"


@pytest.fixture
def database(postgres):
    return postgres.fresh_database("smart_warehouse")


@pytest.fixture
def admin(postgres, database):
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        yield connection


@pytest.fixture
def reader_dsn(postgres, database):
    return postgres.dsn(database, "sink_reader")


@pytest.fixture
def service(serve, reader_dsn):
    return serve(reader_dsn=reader_dsn)


@pytest.fixture
def person(admin):
    record = str(uuid.uuid4())
    admin.execute(
        "INSERT INTO golden_records (gr_id, jan_aadhaar, mobile_number, email, full_name, "
        "date_of_birth, gender, district_id, city_village, pincode, caste_id) "
        "VALUES (%s, %s, %s, %s, 'Asha Devi', '1958-03-02', 'Female', 7, 'Bagru', '303007', 3)",
        (record, AADHAAR, MOBILE, EMAIL),
    )
    admin.execute(
        "INSERT INTO profile_360 (gr_id, profile_data, inferred_income_band, risk_flags, "
        "vulnerability_level, under_coverage_indicator, cluster_id) "
        "VALUES (%s, '{\"secret\": 1}', 'VERY_LOW', '{UNDER_COVERAGE}', 'HIGH', true, 'rural-12')",
        (record,),
    )
    return record


@pytest.fixture
def evaluate(admin):
    """Append an evaluation."""
    admin.execute(
        "INSERT INTO scheme_master (scheme_code, scheme_name, category) "
        "VALUES ('PENSION', 'P', 'X'), ('HOUSING', 'H', 'X')"
    )

    def append(*evaluation):
        admin.execute(
            "INSERT INTO eligibility.eligibility_snapshots (family_id, scheme_code, member_id, "
            "evaluation_status, eligibility_score, explanation, evaluation_timestamp) VALUES "
            "(%s, %s, %s, %s, %s, 'because', timestamp '2026-01-31' - %s * interval '1 hour')",
            evaluation,
        )

    return append


def eligibility(service, family):
    answer = service.get(f"/v1/families/{family}/eligibility")
    assert answer.status_code == 200, answer.text
    return [
        (one["scheme_code"], one["member_id"], one["evaluation_status"], one["eligibility_score"])
        for one in answer.json()["schemes"]
    ]


def test_profile_is_masked_for_caller_group(service, person):
    answer = service.get(f"/v1/profiles/{person.upper()}")
    profile = answer.json()
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    profile.pop("updated_at")
    assert profile == {
        "gr_id": person,
        "family_id": None,
        "jan_aadhaar": "****-****-1234",
        "full_name": "Asha Devi",
        "date_of_birth": "1958-03-02",
        "gender": "Female",
        "district_id": 7,
        "city_village": "Bagru",
        "mobile_number": "******3210",
        "email": "a***@example.com",
        "inferred_income_band": "CONFIDENTIAL",
        "vulnerability_level": "HIGH",
        "under_coverage_indicator": True,
        "cluster_id": "rural-12",
    }
    for raw in (AADHAAR, MOBILE, EMAIL, "VERY_LOW", "303007", "secret"):
        assert raw not in answer.text


def test_a_missing_income_band_looks_like_any_other(service, admin, person):
    """A NULL would disclose that the consent is missing."""
    admin.execute("UPDATE profile_360 SET inferred_income_band = NULL")
    assert service.get(f"/v1/profiles/{person}").json()["inferred_income_band"] == "CONFIDENTIAL"
    admin.execute("DELETE FROM profile_360")
    assert service.get(f"/v1/profiles/{person}").json()["inferred_income_band"] == "CONFIDENTIAL"


@pytest.mark.parametrize("status", ["merged", "INACTIVE"])
def test_inactive_record_is_not_found(service, admin, person, status):
    admin.execute("UPDATE golden_records SET status = %s", (status,))
    problem(service.get(f"/v1/profiles/{person}"), 404, "not-found")


def test_caller_without_group_is_forbidden(service, person):
    problem(service.get(f"/v1/profiles/{person}", key="groupless"), 403, "forbidden")


def test_personal_column_without_policy_refuses_whole_answer(serve, tmp_path, reader_dsn, person):
    """The read fails closed: without a mask for one column, no column is returned."""
    folder = tmp_path / "policies"
    shutil.copytree(POLICIES, folder)
    content = json.loads((folder / "policies.json").read_text())
    content["policies"] = [one for one in content["policies"] if "e-mail" not in one["name"]]
    (folder / "policies.json").write_text(json.dumps(content))
    service = serve(reader_dsn=reader_dsn, policies=folder)
    answer = service.get(f"/v1/profiles/{person}")
    problem(answer, 403, "forbidden")
    assert "Asha" not in answer.text


def test_policy_of_another_group_does_not_apply(serve, tmp_path, reader_dsn, person):
    folder = tmp_path / "policies"
    shutil.copytree(POLICIES, folder)
    text = (folder / "policies.json").read_text()
    (folder / "policies.json").write_text(text.replace('["smart_citizen"]', '["analysts"]'))
    service = serve(reader_dsn=reader_dsn, policies=folder)
    problem(service.get(f"/v1/profiles/{person}"), 403, "forbidden")


def test_alias_of_column_keeps_its_origin(reader_dsn, person):
    """PostgreSQL reports a column's origin through aliases and subqueries."""
    pool = _pool(Dsn.of(reader_dsn), 5, 1)
    pool.open(wait=True)
    sql = (
        "WITH x AS (SELECT jan_aadhaar AS town, gr_id FROM golden_records) "
        "SELECT q.town AS harmless FROM (SELECT DISTINCT * FROM x) q WHERE gr_id = %(id)s::uuid"
    )
    query = MaskedQuery(sql, "smart_warehouse", partial(load_policies, POLICIES), pool)
    assert query.rows({"id": person}, "smart_citizen") == [{"harmless": "****-****-1234"}]
    sql = "SELECT upper(jan_aadhaar) AS x FROM golden_records WHERE gr_id = %(id)s::uuid"
    query = MaskedQuery(sql, "smart_warehouse", partial(load_policies, POLICIES), pool)
    with pytest.raises(ConfigError, match="no policy: x"):
        query.rows({"id": person}, "smart_citizen")
    pool.close()


def test_changed_policies_apply_from_next_request(reader_dsn, person, tmp_path):
    """A personal column that the new policies no longer cover makes the request fail."""
    folder = tmp_path / "policies"
    shutil.copytree(POLICIES, folder)
    watch, pool = PolicyWatch(folder), _pool(Dsn.of(reader_dsn), 5, 1)
    pool.open(wait=True)
    query = MaskedQuery(AADHAAR_OF, "smart_warehouse", watch.current, pool)
    text = (folder / "policies.json").read_text()
    assert query.rows({"id": person}, "smart_citizen") == [{"x": "****-****-1234"}]
    (folder / "policies.json").write_text(text.replace("'****-****-'", "'XX'", 1))
    watch.look()
    assert query.rows({"id": person}, "smart_citizen") == [{"x": "XX1234"}]
    (folder / "policies.json").write_text(text.replace('["smart_citizen"]', '["analysts"]'))
    watch.look()
    with pytest.raises(ProblemError):
        query.rows({"id": person}, "smart_citizen")
    pool.close()


def test_outdated_policies_refuse_queries(reader_dsn, person):
    watch, pool = PolicyWatch(POLICIES, age=11, max_age=10), _pool(Dsn.of(reader_dsn), 5, 1)
    pool.open(wait=True)
    query = MaskedQuery(AADHAAR_OF, "smart_warehouse", watch.current, pool)
    with pytest.raises(ProblemError) as caught:
        query.rows({"id": person}, "smart_citizen")
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (503, "60")
    watch.look()
    assert query.rows({"id": person}, "smart_citizen")
    pool.close()


def test_the_latest_evaluation_of_a_member_counts(service, evaluate):
    family, member = str(uuid.uuid4()), str(uuid.uuid4())
    evaluate(family, "PENSION", member, "RULE_ELIGIBLE", "0.9", 5)
    evaluate(family, "PENSION", member, "NOT_ELIGIBLE", "0.1", 1)
    assert eligibility(service, family) == [("PENSION", member, "NOT_ELIGIBLE", 0.1)]


def test_best_member_evaluation_of_scheme_is_returned(service, evaluate):
    family, one, other = (str(uuid.uuid4()) for _ in range(3))
    evaluate(family, "PENSION", one, "POSSIBLE_ELIGIBLE", "0.99", 1)
    evaluate(family, "PENSION", other, "RULE_ELIGIBLE", "0.5", 9)
    evaluate(family, "HOUSING", None, "UNCERTAIN", None, 1)
    evaluate(str(uuid.uuid4()), "HOUSING", None, "RULE_ELIGIBLE", "1", 1)
    assert eligibility(service, family) == [
        ("PENSION", other, "RULE_ELIGIBLE", 0.5),
        ("HOUSING", None, "UNCERTAIN", None),
    ]


def test_member_with_failed_evaluation_is_left_out(service, evaluate):
    family, member = str(uuid.uuid4()), str(uuid.uuid4())
    evaluate(family, "PENSION", member, "RULE_ELIGIBLE", "0.9", 5)
    evaluate(family, "PENSION", member, "ERROR", None, 1)
    problem(service.get(f"/v1/families/{family}/eligibility"), 404, "not-found")


def test_newest_forecast_is_returned(service, admin):
    family = str(uuid.uuid4())
    for number, day in ((1, "2026-01-01"), (2, "2026-03-01"), (3, "2026-02-01")):
        admin.execute(
            "INSERT INTO forecast.benefit_forecasts (forecast_id, family_id, total_annual_value, "
            "scheme_count, projections, generated_at) VALUES (%s, %s, 12.5, 1, "
            '\'[{"benefit_amount": 1, "a": 1}]\', %s)',
            (number, family, day),
        )
    answer = service.get(f"/v1/families/{family}/forecast")
    assert answer.json() == {
        "forecast_id": 2,
        "family_id": family,
        "horizon_months": 12,
        "total_annual_value": 12.5,
        "scheme_count": 1,
        "projections": [{"benefit_amount": 1}],
        "generated_at": "2026-03-01T00:00:00Z",
    }


def test_unknown_family_and_profile_are_not_found(service, admin):
    for path in ("families/{}/eligibility", "families/{}/forecast", "profiles/{}"):
        problem(service.get("/v1/" + path.format(uuid.uuid4())), 404, "not-found")


def test_slow_query_is_cancelled(service, admin, person):
    with admin.transaction():
        admin.execute("LOCK golden_records")
        problem(service.get(f"/v1/profiles/{person}"), 503, "unavailable")


def test_unreachable_database_is_reported_unavailable(serve, person):
    problem(serve().get(f"/v1/profiles/{person}"), 503, "unavailable")


def test_waiting_reads_leave_threads_for_callbacks(serve):
    """All requests share forty threads; reads of an unreachable database must not take all."""
    service = serve(seconds=4)
    with ThreadPoolExecutor(60) as pool:
        waiting = [pool.submit(service.get, f"/v1/profiles/{uuid.uuid4()}") for _ in range(60)]
        began = time.monotonic()
        assert service.post().status_code == 202
        assert time.monotonic() - began < 3  # a read gives up after four
        assert {answer.result().status_code for answer in waiting} == {503}
