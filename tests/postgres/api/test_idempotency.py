"""A request with an Idempotency-Key is executed once, despite failures and concurrency."""

import threading

import psycopg
import pytest

from ...support.api_service import ALERT, FORECAST
from ...unit.api.test_callbacks import problem

pytestmark = pytest.mark.postgres


@pytest.fixture
def database(postgres):
    return postgres.fresh_database("smart_warehouse")


@pytest.fixture
def service(serve, postgres, database):
    return serve(dsn=postgres.dsn(database, "sink_writer"))


@pytest.fixture
def admin(postgres, database):
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        yield connection


def test_repeated_request_is_published_once(service):
    answers = [service.post(Idempotency_Key="k-1") for _ in range(3)]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    assert len(service.publisher.records) == 1


def test_repeated_bulk_request_is_published_once(service):
    body = {"items": [ALERT, ALERT]}
    first = service.post("/v1/alerts/bulk", body, Idempotency_Key="k-1")
    assert service.post("/v1/alerts/bulk", body, Idempotency_Key="k-1").json() == first.json()
    assert len(service.publisher.records) == 2


def test_another_body_with_same_key_is_refused(service):
    service.post(Idempotency_Key="k-1")
    changed = service.post(body=FORECAST | {"scheme_count": 9}, Idempotency_Key="k-1")
    problem(changed, 422, "idempotency-key-reused")
    assert len(service.publisher.records) == 1


def test_key_is_scoped_to_caller_and_operation(service):
    service.post(Idempotency_Key="k-1")
    assert service.post(key="groupless", Idempotency_Key="k-1").status_code == 202
    assert service.post("/v1/alerts", ALERT, Idempotency_Key="k-1").status_code == 202
    assert len(service.publisher.records) == 3


def test_failed_request_is_executed_when_repeated(service):
    service.publisher.fails_from = 0
    problem(service.post(Idempotency_Key="k-1"), 503, "unavailable")
    service.publisher.fails_from = None
    assert service.post(Idempotency_Key="k-1").status_code == 202
    assert len(service.publisher.records) == 1


def test_request_in_progress_is_not_executed_twice(service, monkeypatch):
    started, proceed, publish = threading.Event(), threading.Event(), service.publisher.publish

    def slowly(*sent):
        started.set()
        assert proceed.wait(60)
        return publish(*sent)

    monkeypatch.setattr(service.publisher, "publish", slowly)
    first = threading.Thread(target=service.post, kwargs={"Idempotency_Key": "k-1"})
    first.start()
    assert started.wait(60)
    problem(service.post(Idempotency_Key="k-1"), 409, "in-progress")
    proceed.set()
    first.join()
    assert service.post(Idempotency_Key="k-1").status_code == 202
    assert len(service.publisher.records) == 1


def test_request_of_dead_process_is_executed_again(service, admin):
    service.post(Idempotency_Key="k-1")
    admin.execute("UPDATE sink.api_request SET places = NULL")
    problem(service.post(Idempotency_Key="k-1"), 409, "in-progress")
    admin.execute("UPDATE sink.api_request SET claimed_at = now() - interval '1 minute'")
    assert service.post(Idempotency_Key="k-1").status_code == 202


def test_expired_key_can_be_reused(service, admin):
    service.post(Idempotency_Key="k-1")
    admin.execute("UPDATE sink.api_request SET claimed_at = now() - interval '25 hours'")
    changed = service.post(body=FORECAST | {"scheme_count": 9}, Idempotency_Key="k-1")
    assert changed.status_code == 202


def test_expired_responses_are_purged(service, admin):
    service.post(Idempotency_Key="k-1")
    admin.execute("UPDATE sink.api_request SET claimed_at = now() - interval '25 hours'")
    service.services.idempotency._purged = -1e9
    service.post(Idempotency_Key="k-2")
    assert admin.execute("SELECT count(*) FROM sink.api_request").fetchone() == (1,)


def test_only_keyed_hashes_of_request_are_stored(service, admin):
    service.post(Idempotency_Key="98765432101")
    (row,) = admin.execute("SELECT r::text FROM sink.api_request r").fetchall()
    assert "98765432101" not in row[0]
    assert "4711" not in row[0]
    columns = admin.execute("SELECT length(request), length(content), places FROM sink.api_request")
    assert columns.fetchall() == [(32, 32, [[0, 0]])]


def test_key_is_refused_without_database(serve):
    """Requests without a key need no database."""
    service = serve()
    problem(service.post(Idempotency_Key="k-1"), 503, "unavailable")
    assert service.publisher.records == []
    assert service.post().status_code == 202


@pytest.mark.parametrize("key", ["", "with blank", "x" * 201, "ü"])
def test_invalid_key_is_refused(service, key):
    answer = service.client.post(
        "/v1/forecasts",
        json=FORECAST,
        headers=[(b"x-api-key", service.keys["all"].encode()), (b"idempotency-key", key.encode())],
    )
    assert problem(answer, 422, "invalid")["errors"][0]["pointer"] == "/header/Idempotency-Key"
