"""How the runner is, as somebody who may only ask over HTTP finds out."""

import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from sink_runner.config.sections import HealthSettings
from sink_runner.health import server
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
def asked(health: Health) -> Iterator[httpx.Client]:
    with (
        serving(HealthSettings(port=free_port()), health) as address,
        httpx.Client(base_url=address) as client,
    ):
        yield client


def figures(client: httpx.Client) -> dict[Any, float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


class TestReady:
    def test_it_lives_before_it_is_ready(self, asked: httpx.Client) -> None:
        assert asked.get("/healthz").status_code == 200
        assert asked.get("/readyz").status_code == 503

    def test_it_is_ready_once_every_mapping_runs(self, asked: httpx.Client, health: Health) -> None:
        one, other = health.mapping("one"), health.mapping("other")
        one.running()
        found = asked.get("/readyz")
        assert found.status_code == 503
        assert found.json()["mappings"]["other"]["state"] == "starting"
        other.running()
        assert asked.get("/readyz").status_code == 200

    @pytest.mark.parametrize("state", ["paused", "stopped"])
    def test_broken_mapping_is_named_with_reason(
        self, asked: httpx.Client, health: Health, state: str
    ) -> None:
        one = health.mapping("one")
        health.mapping("other").running()
        getattr(one, state)("no connection to the target")
        found = asked.get("/readyz")
        assert found.status_code == 503
        told = json.loads(found.text)
        assert told["ready"] is False
        assert told["mappings"]["one"] == {
            "state": state,
            "since": "2027-01-15T08:00:00+00:00",
            "reason": "no connection to the target",
        }
        assert figures(asked)[("sink_paused", "one")] == 1
        assert figures(asked)[("sink_paused_since_timestamp_seconds", "one")] == 1_800_000_000
        one.running()
        assert asked.get("/readyz").status_code == 200
        assert figures(asked)[("sink_paused", "one")] == 0

    def test_since_is_when_it_began(self) -> None:
        now = [1.0]
        health = Health(clock=lambda: now[0])
        one = health.mapping("one")
        one.paused("first")
        now[0] = 2.0
        one.paused("second")
        status = health.statuses()["one"]
        assert (status.since, status.reason) == (1.0, "second")


class TestMetrics:
    def test_batch_counts_events_by_result(self, asked: httpx.Client, health: Health) -> None:
        one = health.mapping("one")
        one.committed({"written": 3, "dead": 1}, 0.2, last_ms=1_799_999_990_000)
        one.committed({"written": 2}, 0.1)
        found = figures(asked)
        assert found[("sink_events_total", "one", "written")] == 5
        assert found[("sink_events_total", "one", "dead")] == 1
        assert found[("sink_batch_seconds_count", "one")] == 2
        assert found[("sink_lag_seconds", "one")] == 10

    def test_budget_that_nobody_has_counted_is_not_told(
        self, asked: httpx.Client, health: Health
    ) -> None:
        """A runner without partitions must not look like one that is about to stop."""
        health.mapping("one")
        assert ("sink_failure_budget_left", "one") not in figures(asked)

    def test_dead_letters_and_what_is_left_of_budget(
        self, asked: httpx.Client, health: Health
    ) -> None:
        one = health.mapping("one")
        one.dead_letters(3, 0, budget_left=997)
        found = figures(asked)
        assert found[("sink_dead_letters", "one", "open")] == 3
        assert found[("sink_dead_letters", "one", "parked")] == 0
        assert found[("sink_failure_budget_left", "one")] == 997

    def test_others_add_their_own(self, asked: httpx.Client, health: Health) -> None:
        health.gauge("sink_policy_version", "The policies' version.").set(7)
        age = health.gauge("sink_policy_age_seconds", "Since they were read.")
        age.set_function(lambda: 42.0)
        assert health.gauge("sink_policy_age_seconds", "Since they were read.") is age
        found = figures(asked)
        assert (found[("sink_policy_version",)], found[("sink_policy_age_seconds",)]) == (7, 42)

    def test_two_runs_in_one_process_share_nothing(self) -> None:
        one, other = Health(), Health()
        one.mapping("m").committed({"written": 1}, 0.1)
        other.mapping("m")
        assert other.registry.get_sample_value("sink_events_total", {"mapping": "m"}) is None


class TestServer:
    def test_other_paths_are_not_here(self, asked: httpx.Client) -> None:
        assert asked.get("/").status_code == 404

    def test_without_a_port_nothing_is_answered(self, health: Health) -> None:
        with serving(HealthSettings(), health) as address:
            assert address == ""

    def test_taken_port_is_logged_only(self, health: Health) -> None:
        with socket.socket() as taken, capture_logs() as logs:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with serving(HealthSettings(port=taken.getsockname()[1]), health) as address:
                assert address == ""
        assert [line["event"] for line in logs] == ["health_not_answered"]

    def test_a_client_that_says_nothing_keeps_nobody_waiting(self, asked: httpx.Client) -> None:
        with socket.create_connection((asked.base_url.host, asked.base_url.port)):
            assert asked.get("/healthz").text == "ok\n"

    @pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nX: "])
    def test_half_sent_request_is_closed(
        self, health: Health, monkeypatch: pytest.MonkeyPatch, sent: bytes
    ) -> None:
        """Though a byte comes now and then."""
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

    def test_many_connections_keep_no_probe_out(self, asked: httpx.Client) -> None:
        address = asked.base_url.host, asked.base_url.port
        with ExitStack() as stack:
            opened = [
                stack.enter_context(socket.create_connection(address))
                for _ in range(3 * server.MAX_CONNECTIONS)
            ]
            assert asked.get("/healthz").text == "ok\n"
            ended, _, _ = select.select(opened, [], [], 0)
            assert len(opened) - len(ended) <= server.MAX_CONNECTIONS

    def test_the_address_is_free_again_afterwards(self, health: Health) -> None:
        settings = HealthSettings(port=free_port())
        for _ in range(2):
            with serving(settings, health) as address:
                assert httpx.get(f"{address}/healthz").status_code == 200
