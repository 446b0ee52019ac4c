"""Liveness, readiness and metrics over HTTP."""

import select
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from sink_runner.config.sections import HealthSettings
from sink_runner.health import client as health_client
from sink_runner.health import server
from sink_runner.health.client import read_states, read_step_seconds
from sink_runner.health.server import serving
from sink_runner.model.status import Health


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def health() -> Health:
    return Health(clock=lambda: 1_800_000_000.0)


@pytest.fixture
def client(health: Health) -> Iterator[httpx.Client]:
    with (
        serving(HealthSettings(port=free_port()), health) as address,
        httpx.Client(base_url=address) as client,
    ):
        yield client


def read_metrics(client: httpx.Client) -> dict[Any, float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


class TestReady:
    def test_runner_is_alive_before_it_is_ready(self, client: httpx.Client) -> None:
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 503

    def test_runner_is_ready_once_every_mapping_runs(
        self, client: httpx.Client, health: Health
    ) -> None:
        first, second = health.mapping("first"), health.mapping("second")
        first.running()
        response = client.get("/readyz")
        assert response.status_code == 503
        assert response.json()["mappings"]["second"]["state"] == "starting"
        second.running()
        assert client.get("/readyz").status_code == 200

    @pytest.mark.parametrize("state", ["paused", "stopped"])
    def test_failed_mapping_is_named_with_reason(
        self, client: httpx.Client, health: Health, state: str
    ) -> None:
        one = health.mapping("one")
        health.mapping("other").running()
        getattr(one, state)("no connection to the target")
        response = client.get("/readyz")
        assert response.status_code == 503
        body = response.json()
        assert body["ready"] is False
        assert body["mappings"]["one"] == {
            "state": state,
            "since": "2027-01-15T08:00:00+00:00",
            "reason": "no connection to the target",
        }
        assert read_metrics(client)[("sink_paused", "one")] == 1
        assert read_metrics(client)[("sink_paused_since_timestamp_seconds", "one")] == 1_800_000_000
        one.running()
        assert client.get("/readyz").status_code == 200
        assert read_metrics(client)[("sink_paused", "one")] == 0

    def test_since_is_time_of_first_pause(self) -> None:
        now = [1.0]
        health = Health(clock=lambda: now[0])
        one = health.mapping("one")
        one.paused("first")
        now[0] = 2.0
        one.paused("second")
        status = health.statuses()["one"]
        assert (status.since, status.reason) == (1.0, "second")


class TestMetrics:
    def test_batch_counts_events_by_result(self, client: httpx.Client, health: Health) -> None:
        one = health.mapping("one")
        one.committed({"written": 3, "dead": 1}, 0.2, last_ms=1_799_999_990_000)
        one.committed({"written": 2}, 0.1)
        metrics = read_metrics(client)
        assert metrics[("sink_events_total", "one", "written")] == 5
        assert metrics[("sink_events_total", "one", "dead")] == 1
        assert metrics[("sink_batch_seconds_count", "one")] == 2
        assert metrics[("sink_applied_commit_timestamp_seconds", "one")] == 1_799_999_990
        assert metrics[("sink_lag_seconds", "one")] == 0, "what was applied is not behind"

    def test_counts_are_zero_before_first_batch(self, client: httpx.Client, health: Health) -> None:
        """A rate needs a sample before the first failure."""
        health.mapping("one")
        metrics = read_metrics(client)
        assert metrics[("sink_events_total", "one", "dead")] == 0
        assert metrics[("sink_event_latency_seconds_count", "one", "total")] == 0

    def test_unknown_failure_budget_is_not_exported(
        self, client: httpx.Client, health: Health
    ) -> None:
        """A runner without partitions must not look as if its budget were used up."""
        health.mapping("one")
        assert ("sink_failure_budget_left", "one") not in read_metrics(client)

    def test_dead_letters_and_failure_budget_are_exported(
        self, client: httpx.Client, health: Health
    ) -> None:
        one = health.mapping("one")
        one.dead_letters(3, 0, budget_left=997)
        metrics = read_metrics(client)
        assert metrics[("sink_dead_letters", "one", "open")] == 3
        assert metrics[("sink_dead_letters", "one", "parked")] == 0
        assert metrics[("sink_failure_budget_left", "one")] == 997

    def test_other_modules_add_gauges(self, client: httpx.Client, health: Health) -> None:
        health.gauge("sink_policy_version", "The policies' version.").set(7)
        age = health.gauge("sink_policy_age_seconds", "The policies' age.")
        age.set_function(lambda: 42.0)
        assert health.gauge("sink_policy_age_seconds", "The policies' age.") is age
        metrics = read_metrics(client)
        assert (metrics[("sink_policy_version",)], metrics[("sink_policy_age_seconds",)]) == (7, 42)

    def test_each_health_has_its_own_metrics(self) -> None:
        first, second = Health(), Health()
        first.mapping("m").committed({"written": 1}, 0.1)
        second.mapping("m")
        assert second.registry.get_sample_value("sink_events_total", {"mapping": "m"}) is None


class TestServer:
    def test_unknown_path_is_not_found(self, client: httpx.Client) -> None:
        assert client.get("/").status_code == 404

    def test_server_does_not_start_without_port(self, health: Health) -> None:
        with serving(HealthSettings(), health) as address:
            assert address == ""

    def test_occupied_port_is_only_logged(self, health: Health) -> None:
        with socket.socket() as other, capture_logs() as logs:
            other.bind(("127.0.0.1", 0))
            other.listen()
            with serving(HealthSettings(port=other.getsockname()[1]), health) as address:
                assert address == ""
        assert [line["event"] for line in logs] == ["health_not_answered"]

    def test_silent_client_does_not_block_others(self, client: httpx.Client) -> None:
        with socket.create_connection((client.base_url.host, client.base_url.port)):
            assert client.get("/healthz").text == "ok\n"

    @pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nX: "])
    def test_connection_with_incomplete_request_is_closed(
        self, health: Health, monkeypatch: pytest.MonkeyPatch, sent: bytes
    ) -> None:
        """The limit holds for the whole request, also if a byte arrives now and then."""
        monkeypatch.setattr(server, "REQUEST_SECONDS", 0.5)
        settings, began = HealthSettings(port=free_port()), time.perf_counter()
        with (
            serving(settings, health),
            socket.create_connection((settings.host, settings.port)) as connection,
        ):
            connection.sendall(sent)
            with suppress(ConnectionError):
                while time.perf_counter() - began < 3:
                    connection.sendall(b"x" if sent else b"")
                    connection.settimeout(0.1)
                    with suppress(TimeoutError):
                        if not connection.recv(1000):
                            break
        assert 0.3 < time.perf_counter() - began < 2

    def test_many_connections_do_not_block_probes(self, client: httpx.Client) -> None:
        address = client.base_url.host, client.base_url.port
        with ExitStack() as stack:
            connections = [
                stack.enter_context(socket.create_connection(address))
                for _ in range(3 * server.MAX_CONNECTIONS)
            ]
            assert client.get("/healthz").text == "ok\n"
            closed, _, _ = select.select(connections, [], [], 0)
            assert len(connections) - len(closed) <= server.MAX_CONNECTIONS

    def test_port_is_released_afterwards(self, health: Health) -> None:
        settings = HealthSettings(port=free_port())
        for _ in range(2):
            with serving(settings, health) as address:
                assert httpx.get(f"{address}/healthz").status_code == 200


@pytest.mark.parametrize("body", [b"<html>welcome</html>", b"\xff"])
def test_other_program_reports_no_steps(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the port of the runner, and answers with something else."""
    monkeypatch.setattr(health_client, "_read", lambda *_: body)
    assert read_step_seconds(HealthSettings(port=1), "feedback") == {}


def test_port_without_http_reports_no_state() -> None:
    """It has the port of the runner, and does not answer by HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        settings = HealthSettings(port=listener.getsockname()[1])
        states = pool.submit(read_states, settings)
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"220 mail\r\n\r\n")
        assert states.result() is None
