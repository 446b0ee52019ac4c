"""The API as a process on the real stack: called over HTTP, killed, and without Kafka."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from sink_stack import ports
from sink_stack.stack import sink_runner
from sink_stack.testing_stack import StackUnderTest

from ..support.http_receiver import receiving
from ..support.otlp import spans_of
from ..support.waits import eventually
from .runner_process import ROOT, TIMEOUT_SECONDS, fetch_row, run_runner

pytestmark = pytest.mark.stack

FORECASTS = "smart_warehouse.forecast.benefit_forecasts"
ALERTS = "smart_warehouse.alerts.ml_alert_outbox"
ISSUER, AUDIENCE = "https://issuer.example", "sink"
MEASUREMENTS = 40
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PLUGINS = "benefit-forecasts,alerts"


@dataclass
class Api:
    """A process of `sink-runner api` and an HTTP client."""

    process: subprocess.Popen[bytes]
    client: httpx.Client
    log: Path
    url: str
    tokens: RSAKey

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return self.client.post(f"/v1/{path}", json=body, headers=headers)

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        self.process.send_signal(signal_number)
        return self.process.wait(TIMEOUT_SECONDS)

    def token(self, **changes: Any) -> str:
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "forecast-service",
            "scope": "forecasts:write",
            "exp": int(time.time()) + 60,
        }
        header = {"alg": "RS256", "kid": "one", "typ": "at+jwt"}
        return jwt.encode(header, claims | changes, self.tokens)


@contextmanager
def run_api(stack: StackUnderTest, folder: Path, more: str = "") -> Iterator[Api]:
    """Run the API with the repository's configuration and an additional token issuer."""
    keys = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
    (folder / "jwks.json").write_text(json.dumps(KeySet([keys]).as_dict(private=False)))
    config = folder / "sink-runner.toml"
    text = (ROOT / "sink-runner.toml").read_text()
    config.write_text(
        f"{text}\n[api.oauth]\n"
        f'issuer = "{ISSUER}"\naudience = "{AUDIENCE}"\njwks_file = "jwks.json"\n'
        '[api.clients.forecast-service]\nsubject = "forecast-service"\n'
        f'scopes = ["forecasts:write"]\n{more}'
    )
    policies = folder / "ranger-policies"
    if not policies.exists():
        policies.symlink_to(ROOT / "ranger-policies")
    port = str(ports.any_free(frozenset()))  # the configured port belongs to the stack's own API
    url, environ = f"http://127.0.0.1:{port}", {**stack.env, "SINK_API_PORT": port}
    with start_api(environ, config, folder / "api.log") as process:
        key = {"X-API-Key": stack.env["SINK_API_LOCAL_KEY"]}
        with httpx.Client(base_url=url, headers=key, timeout=30) as client:
            api = Api(process, client, folder / "api.log", url, keys)
            eventually(lambda: is_healthy(api))
            yield api


@contextmanager
def start_api(
    environ: Mapping[str, str], config: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    command = sink_runner("api", "--config", str(config))
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environ},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(TIMEOUT_SECONDS)


def is_healthy(api: Api) -> bool:
    assert api.process.poll() is None, api.log.read_text()
    try:
        return api.client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def api(stack: StackUnderTest, tmp_path: Path) -> Iterator[Api]:
    with run_api(stack, tmp_path) as api:
        yield api


@pytest.fixture
def portal(stack: StackUnderTest) -> Iterator[Any]:
    with stack.admin("smart_citizen") as connection:
        yield connection


def forecast(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "forecast_id": number,
        "family_id": str(uuid4()),
        "horizon_months": 12,
        "total_annual_value": 1200.5,
        "scheme_count": 1,
        "projections": [{"scheme_code": "NREGA"}],
        "generated_at": datetime.now(UTC).isoformat(),
        **changes,
    }


def alert(**changes: Any) -> dict[str, Any]:
    return {
        "alert_id": str(uuid4()),
        "family_id": str(uuid4()),
        "alert_type": "EXPIRING",
        "severity": "LOW",
        "message": "Call 9876543210.",
        "created_at": datetime.now(UTC).isoformat(),
        **changes,
    }


def test_callback_and_event_share_partition_and_key(stack: StackUnderTest, api: Api) -> None:
    """The API writes the same key bytes as Debezium, and uses the same partitioner as Java."""
    numbers = range(1_000, 1_020)
    with stack.admin("smart_warehouse") as warehouse:
        for number in numbers:
            warehouse.execute(
                "INSERT INTO forecast.benefit_forecasts (forecast_id, family_id) VALUES (%s, %s)",
                (number, uuid4()),
            )
        shared = alert()
        warehouse.execute(
            "INSERT INTO alerts.ml_alert_outbox (alert_id, family_id, alert_type, severity, "
            "message) VALUES (%s, %s, 'X', 'LOW', 'x')",
            (shared["alert_id"], shared["family_id"]),
        )
    for number in numbers:
        response = api.post("forecasts", forecast(number))
        assert response.status_code == 202, response.text
    assert api.post("alerts", shared | {"alert_id": shared["alert_id"].upper()}).status_code == 202
    for topic, keys in ((FORECASTS, set(numbers)), (ALERTS, {shared["alert_id"]})):
        found: dict[Any, list[Any]] = {}

        def is_complete(topic: str = topic, keys: Any = keys, found: Any = found) -> bool:
            found.clear()
            for message in stack.recorder().read(topic, 2 * len(keys)):
                (key,) = message.key.values()
                if key in keys:
                    found.setdefault(key, []).append(message)
            return len(found) == len(keys) and all(len(two) >= 2 for two in found.values())

        eventually(is_complete)
        for messages in found.values():
            assert {one.value["source"]["connector"] for one in messages} == {
                "postgresql",
                "callback",
            }
            assert len({(one.partition, one.raw_key) for one in messages}) == 1
            assert len({one.value_schema_id for one in messages}) == 1


def test_registered_schemas_equal_debezium_schemas(stack: StackUnderTest, api: Api) -> None:
    """Otherwise Debezium's first event would have another schema id and another partition."""
    api.post("forecasts", forecast(1)), api.post("alerts", alert())
    with stack.admin("smart_warehouse") as warehouse:
        warehouse.execute(
            "INSERT INTO forecast.benefit_forecasts (forecast_id, family_id) "
            "VALUES (2, gen_random_uuid())"
        )

    def captured_schema_ids() -> set[Any]:
        messages = stack.recorder().read(FORECASTS, 2)
        written = [one for one in messages if one.value["source"]["connector"] == "postgresql"]
        return {(one.key_schema_id, one.value_schema_id) for one in written}

    debezium_ids = eventually(captured_schema_ids)
    callback_ids = {
        (one.key_schema_id, one.value_schema_id)
        for one in stack.recorder().read(FORECASTS, 2)
        if one.value["source"]["connector"] == "callback"
    }
    assert callback_ids == debezium_ids


def test_forecast_reaches_portal_in_time(
    stack: StackUnderTest, api: Api, portal: Any, tmp_path: Path
) -> None:
    """The specification requires a p95 of 2 s; the test prints it and asserts a wider limit."""
    query = "SELECT total_annual_value FROM benefit_forecasts WHERE forecast_id = %s"
    latencies = []
    with run_runner(stack.env, tmp_path / "runner", "--only", "benefit-forecasts", mappings=1):
        for number in range(2_000, 2_000 + MEASUREMENTS):
            began = time.monotonic()
            assert api.post("forecasts", forecast(number)).status_code == 202
            eventually(lambda number=number: fetch_row(portal, query, number), pause=0.005)
            latencies.append(time.monotonic() - began)
    latencies.sort()
    median, p95 = latencies[MEASUREMENTS // 2], latencies[int(MEASUREMENTS * 0.95)]
    print(f"callback to committed row: p50 {median * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms")
    assert p95 < 10


def test_accepted_callback_survives_kills(
    stack: StackUnderTest, api: Api, portal: Any, tmp_path: Path
) -> None:
    """Runner and API are killed between the response and the write."""
    numbers = list(range(3_000, 3_060))
    with run_runner(
        stack.env, tmp_path / "first", "--only", "benefit-forecasts", mappings=1
    ) as one:
        for number in numbers[:30]:
            assert api.post("forecasts", forecast(number)).status_code == 202
        one.kill()
    bulk = {"items": [forecast(number) for number in numbers[30:]]}
    assert api.post("forecasts/bulk", bulk).status_code == 202
    api.process.kill()
    api.process.wait(TIMEOUT_SECONDS)
    count = "SELECT count(*) FROM benefit_forecasts WHERE forecast_id = ANY (%s)"
    assert fetch_row(portal, count, numbers) != (60,)
    with run_runner(stack.env, tmp_path / "second", "--only", "benefit-forecasts", mappings=1):
        eventually(lambda: fetch_row(portal, count, numbers) == (60,))


def test_alert_reaches_citizen_of_family_scrubbed(
    stack: StackUnderTest, api: Api, portal: Any, tmp_path: Path
) -> None:
    """The trace of the request ends in the target, without a value."""
    family, sent = str(uuid4()), alert()
    citizen = fetch_row(
        portal,
        "INSERT INTO citizens (full_name, mobile_number) VALUES ('Asha', '0123456789') "
        "RETURNING id",
    )[0]
    portal.execute(
        "INSERT INTO citizen_identity_map (citizen_id, gr_id, family_id, is_family_head) "
        "VALUES (%s, gen_random_uuid(), %s, true)",
        (citizen, family),
    )
    body = {"items": [sent | {"family_id": family}]}
    with receiving() as receiver:
        traced = {**stack.env, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        with run_runner(traced, tmp_path / "runner", "--only", "alerts", mappings=1):
            context = f"00-{TRACE}-{SPAN}-01"
            assert api.post("alerts/bulk", body, traceparent=context).is_success
            query = "SELECT citizen_id, message FROM ml_alerts WHERE alert_id = %s"
            assert eventually(lambda: fetch_row(portal, query, sent["alert_id"])) == (
                citizen,
                "Call ***MASKED***.",
            )
        spans = spans_of(receiver)
    (span,) = [one for one in spans if one.trace == TRACE]
    assert (span.parent, span.attributes["sink.outcome"]) == (SPAN, "committed")
    assert "lookup" in {one.name for one in spans}
    assert not [text for text in ("9876543210", family) if text in str(spans)]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-API-Key": "sink_wrong"}, 401),
        ({"Authorization": "Bearer {good}"}, 202),
        ({"Authorization": "Bearer {expired}"}, 401),
        ({"Authorization": "Bearer {foreign}"}, 401),
        ({"Authorization": "Bearer {other}"}, 403),
        ({"Authorization": "Bearer {unscoped}"}, 403),
        ({"Authorization": "Basic abc"}, 401),
    ],
    ids=str,
)
def test_credentials_decide_response_status(api: Api, headers: dict[str, str], status: int) -> None:
    tokens = {
        "good": api.token(),
        "expired": api.token(exp=int(time.time()) - 120),
        "foreign": api.token(aud="another audience"),
        "other": api.token(sub="a stranger"),
        "unscoped": api.token(scope="alerts:write"),
    }
    formatted = {name: value.format(**tokens) for name, value in headers.items()}
    answer = httpx.post(f"{api.url}/v1/forecasts", json=forecast(4_000), headers=formatted)
    assert answer.status_code == status, answer.text


def test_repeated_request_is_one_event(stack: StackUnderTest, api: Api) -> None:
    body = alert()
    first, again = (api.post("alerts", body, **{"Idempotency-Key": "once"}) for _ in range(2))
    assert (first.status_code, first.text) == (202, again.text)
    other = api.post("alerts", alert(), **{"Idempotency-Key": "once"})
    assert other.status_code == 422
    offset = api.post("alerts", alert()).json()["offset"]
    assert offset == first.json()["offset"] + 1


def test_callback_is_refused_during_kafka_outage(stack: StackUnderTest, api: Api) -> None:
    assert api.post("forecasts", forecast(5_000)).status_code == 202
    stack.kill("kafka")
    try:
        answer = api.post("forecasts", forecast(5_001))
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        eventually(lambda: api.client.get("/readyz").json()["kafka"] == "down")
    finally:
        stack.revive()
    eventually(lambda: api.post("forecasts", forecast(5_001)).status_code == 202)
    ready = dict.fromkeys(("kafka", "registry", "database", "policies"), "ok")
    eventually(lambda: api.client.get("/readyz").json() == ready)  # refreshed once a second


def test_stop_finishes_requests_in_flight(api: Api) -> None:
    items = {"items": [forecast(number) for number in range(6_000, 6_200)]}
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(api.post, "forecasts/bulk", items) for _ in range(4)]
        time.sleep(0.05)
        began = time.monotonic()
        code = api.stop()
        duration = time.monotonic() - began
        statuses = []
        for answer in answers:
            try:
                statuses.append(answer.result().status_code)
            except httpx.ConnectError:
                statuses.append(None)  # sent after the server had stopped listening
    assert (code, duration < 10) == (0, True)
    assert 202 in statuses
    assert set(statuses) <= {202, None}


def test_log_contains_no_personal_value_or_key(api: Api) -> None:
    canary = alert(message="98765432101", alert_type="x" * 51)
    api.post("alerts", canary)
    api.client.get("/v1/profiles/98765432101")
    api.post("alerts", canary, **{"X-API-Key": "98765432101"})
    api.stop()
    text = api.log.read_text()
    assert "api_started" in text
    assert "98765432101" not in text
    assert stack_secret(api) not in text


def stack_secret(api: Api) -> str:
    return str(api.client.headers["X-API-Key"])
