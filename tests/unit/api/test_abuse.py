"""A client, authenticated or not, cannot slow down the service for others."""

import contextlib
import json
import socket
import time

import httpx
import pytest

from sink_runner.api import problems

from ...support.api_live import serve_on_port
from ...support.api_service import FORECAST, LIMITS
from .test_callbacks import problem

LARGE_LIMITS = "max_items = 500\nmax_body_bytes = 1000000"
SLOW_SECONDS = 0.7
POST = b"POST /v1/forecasts HTTP/1.1\r\nHost: x\r\nX-API-Key: KEY\r\n"


class TestErrors:
    @pytest.fixture
    def large_service(self, serve):
        return serve(limits=LARGE_LIMITS)

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("", FORECAST | {"projections": [1] * 450_000}),
            ("", FORECAST | {"projections": [{}] * 300_000}),
            ("", FORECAST | dict.fromkeys(map(str, range(80_000)), 0)),
            ("/bulk", {"items": [FORECAST | {"projections": [1] * 800}] * 450}),
            ("/bulk", {"items": [dict.fromkeys("abcdefghijklmnop", 0)] * 500}),
            ("/bulk", {"items": [0] * 450_000}),
            ("", dict.fromkeys(map(str, range(80_000)), 0)),
        ],
        ids=["numbers", "objects", "fields", "bulk", "bulk-fields", "items", "only-fields"],
    )
    def test_response_to_many_errors_is_small(self, large_service, path, body):
        content = json.dumps(body, separators=(",", ":"))
        headers = {"X-API-Key": large_service.keys["all"], "Content-Type": "application/json"}
        start = time.perf_counter()
        response = large_service.client.post(
            f"/v1/forecasts{path}", content=content, headers=headers
        )
        assert time.perf_counter() - start < 1.5
        assert 0 < len(problem(response, 422, "invalid")["errors"]) <= problems.MAX_ERRORS
        assert len(response.content) < 10_000

    def test_legitimate_large_request_is_accepted(self, large_service):
        item = {"scheme_code": "OLD_AGE_PENSION", "benefit_amount": 12000, "probability": 0.93}
        body = {"items": [FORECAST | {"projections": [item] * 20}] * 450}
        assert large_service.post("/v1/forecasts/bulk", body).status_code == 202


class TestByteRate:
    def test_bytes_of_bodies_count_against_rate(self, serve):
        service = serve(limits=LIMITS + "\nbytes_per_second = 1000\nrequests_per_second = 1000")
        service.services.byte_rates._burst = 20_000
        body = {"padding": "x" * 9_000}
        assert [service.post(body=body).status_code for _ in range(2)] == [422, 422]
        response = service.post(body=body)
        problem(response, 429, "too-many-requests")
        assert "1000 bytes a second" in response.json()["detail"]
        assert 1 <= int(response.headers["retry-after"]) <= 10
        assert service.post(key="groupless").status_code == 202

    def test_bytes_of_chunked_bodies_count_against_rate(self, serve):
        service = serve(limits=LIMITS + "\nbytes_per_second = 1\nrequests_per_second = 1000")
        service.services.byte_rates._burst = 12_000

        async def chunks():
            for _ in range(9):
                yield b" " * 1_000

        def send():
            headers = {"X-API-Key": service.keys["all"], "Content-Type": "application/json"}
            return service.client.post("/v1/forecasts", content=chunks(), headers=headers)

        assert [send().status_code for _ in range(2)] == [422, 429]


@contextlib.contextmanager
def flood(url, request, *, connections=60):
    """Send a request on each of many connections, and read no response while the block runs."""
    address = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
    with contextlib.ExitStack() as stack:
        for _ in range(connections):
            connection = stack.enter_context(socket.create_connection(address, 30))
            connection.sendall(request)
        time.sleep(0.3)
        yield


def measure_callback(service, url):
    start = time.perf_counter()
    headers = {"X-API-Key": service.keys["all"]}
    response = httpx.post(f"{url}/v1/forecasts", json=FORECAST, headers=headers, timeout=60)
    assert response.status_code == 202
    return time.perf_counter() - start


class TestReadiness:
    @pytest.fixture
    def slow_kafka(self, serve):
        """Yield a service whose check of Kafka takes 3 s, its URL, and the calls of the check."""
        service, calls = serve(), []

        def check():
            calls.append(1)
            time.sleep(3)
            return True

        service.services.parts["kafka"] = check
        with serve_on_port(service.app, service.services.api) as url:
            yield service, url, calls

    def test_readiness_requests_do_not_slow_callback(self, slow_kafka):
        service, url, calls = slow_kafka
        with flood(url, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"):
            assert measure_callback(service, url) < 2
            assert httpx.get(f"{url}/readyz", timeout=30).json()["kafka"] == "ok"
        assert len(calls) == 1

    def test_readiness_follows_outage_within_a_second(self, service):
        assert service.client.get("/readyz").json()["kafka"] == "ok"
        service.publisher.fails_from = 0
        time.sleep(1.1)
        assert service.client.get("/readyz").json()["kafka"] == "down"


def test_invalid_tokens_do_not_slow_callback(serve, monkeypatch):
    """Each token has an unknown key id, so the service fetches the issuer's keys, which is slow."""
    service = serve()
    monkeypatch.setattr(service.services.callers, "by_token", lambda _token: time.sleep(3))
    request = b"GET /v1/profiles/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n\r\n"
    with (
        serve_on_port(service.app, service.services.api) as url,
        flood(url, request),
    ):
        assert measure_callback(service, url) < 2


class TestConnections:
    @pytest.fixture
    def service(self, serve):
        return serve(limits=f"{LIMITS}\nrequest_seconds = {SLOW_SECONDS}\nmax_connections = 5")

    @pytest.fixture
    def connect(self, service):
        with (
            serve_on_port(service.app, service.services.api) as url,
            contextlib.ExitStack() as stack,
        ):
            port = int(url.rsplit(":", 1)[1])

            def open_connection():
                connection = socket.create_connection(("127.0.0.1", port))
                connection.settimeout(10)
                return stack.enter_context(connection)

            yield open_connection

    @staticmethod
    def measure_until_closed(connection):
        """Return the seconds until the server closes the connection."""
        start = time.perf_counter()
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(65536):
                pass
        return time.perf_counter() - start

    @pytest.mark.parametrize(
        "sent",
        [
            b"",
            b"GET /healthz HTTP/1.1\r\nHost: x\r\n",
            POST + b"Content-Length: 9\r\n\r\n{",
            POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n12",
        ],
        ids=["nothing", "headers", "body", "chunk"],
    )
    def test_connection_with_incomplete_request_is_closed(self, service, connect, sent):
        connection = connect()
        connection.sendall(sent.replace(b"KEY", service.keys["all"].encode()))
        assert SLOW_SECONDS * 0.5 < self.measure_until_closed(connection) < SLOW_SECONDS + 1.5

    @pytest.mark.parametrize(
        "sent", [b"GET /healthz HTTP/1.1\r\nX: ", POST + b"Content-Length: 999\r\n\r\n"]
    )
    def test_connection_with_slow_request_is_closed(self, service, connect, sent):
        connection, start = connect(), time.perf_counter()
        connection.sendall(sent.replace(b"KEY", service.keys["all"].encode()))
        with contextlib.suppress(ConnectionError):
            while time.perf_counter() - start < 3 * SLOW_SECONDS:
                connection.sendall(b"x")
                time.sleep(0.1)
        assert time.perf_counter() - start < 2 * SLOW_SECONDS

    def test_time_limit_starts_again_for_each_request(self, connect):
        connection = connect()
        for _ in range(3):
            connection.sendall(b"GET /healthz HTTP/1.1\r\n")
            time.sleep(SLOW_SECONDS / 2)
            connection.sendall(b"Host: x\r\n\r\n")
            response = b""
            while not response.endswith(b"}"):
                response += connection.recv(65536)
            assert response.startswith(b"HTTP/1.1 200")

    def test_slow_operation_is_not_interrupted(self, service, connect):
        """The limit is for receiving the request, not for the service's own work."""
        service.publisher.publish = delay(service.publisher.publish, 2 * SLOW_SECONDS)
        body, connection = json.dumps(FORECAST).encode(), connect()
        connection.sendall(
            b"POST /v1/forecasts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"X-API-Key: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (service.keys["all"].encode(), len(body), body)
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 202")

    def test_client_that_does_not_read_is_closed(self, connect):
        connection = connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        request = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
        with pytest.raises(ConnectionError):
            # The responses fill all buffers, the service stops reading, and our buffer fills, too.
            connection.sendall(request * 200_000)

    def test_connection_beyond_limit_is_closed_at_once(self, connect):
        connections = [connect() for _ in range(5)]
        assert self.measure_until_closed(connect()) < 0.4
        for connection in connections:
            self.measure_until_closed(connection)
        connection = connect()
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def delay(function, seconds):
    def call(*arguments):
        time.sleep(seconds)
        return function(*arguments)

    return call
