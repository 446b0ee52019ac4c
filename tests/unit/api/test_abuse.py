"""What one caller, or anyone without credentials, cannot do to the others."""

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

WIDE = "max_items = 500\nmax_body_bytes = 1000000"
SLOW_SECONDS = 0.7
POST = b"POST /v1/forecasts HTTP/1.1\r\nHost: x\r\nX-API-Key: KEY\r\n"


class TestErrors:
    @pytest.fixture
    def wide(self, serve):
        return serve(limits=WIDE)

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
    def test_answer_to_many_faults_is_small(self, wide, path, body):
        content = json.dumps(body, separators=(",", ":"))
        headers = {"X-API-Key": wide.keys["all"], "Content-Type": "application/json"}
        began = time.perf_counter()
        answer = wide.client.post(f"/v1/forecasts{path}", content=content, headers=headers)
        assert time.perf_counter() - began < 1.5
        assert 0 < len(problem(answer, 422, "invalid")["errors"]) <= problems.MAX_ERRORS
        assert len(answer.content) < 10_000

    def test_legitimate_large_request_is_accepted(self, wide):
        item = {"scheme_code": "OLD_AGE_PENSION", "benefit_amount": 12000, "probability": 0.93}
        body = {"items": [FORECAST | {"projections": [item] * 20}] * 450}
        assert wide.post("/v1/forecasts/bulk", body).status_code == 202


class TestBytes:
    def test_bytes_of_bodies_count_against_the_rate(self, serve):
        service = serve(limits=LIMITS + "\nbytes_per_second = 1000\nrequests_per_second = 1000")
        service.services.byte_rates._burst = 20_000
        body = {"padding": "x" * 9_000}
        assert [service.post(body=body).status_code for _ in range(2)] == [422, 422]
        answer = service.post(body=body)
        problem(answer, 429, "too-many-requests")
        assert "1000 bytes a second" in answer.json()["detail"]
        assert 1 <= int(answer.headers["retry-after"]) <= 10
        assert service.post(key="groupless").status_code == 202

    def test_bytes_without_an_announced_length_count_too(self, serve):
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
def flooded(url, request, *, connections=60):
    """Send a request on each of many connections, and read no answer while the block runs."""
    address = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
    with contextlib.ExitStack() as stack:
        for _ in range(connections):
            connection = stack.enter_context(socket.create_connection(address, 30))
            connection.sendall(request)
        time.sleep(0.3)
        yield


def seconds_of_a_callback(service, url):
    began = time.perf_counter()
    headers = {"X-API-Key": service.keys["all"]}
    answer = httpx.post(f"{url}/v1/forecasts", json=FORECAST, headers=headers, timeout=60)
    assert answer.status_code == 202
    return time.perf_counter() - began


class TestReadiness:
    @pytest.fixture
    def asked(self, serve):
        """A service whose Kafka takes three seconds to answer, and how often it is asked."""
        service, calls = serve(), []

        def slow():
            calls.append(1)
            time.sleep(3)
            return True

        service.services.parts["kafka"] = slow
        with serve_on_port(service.app, service.services.api) as url:
            yield service, url, calls

    def test_calls_do_not_slow_a_callback(self, asked):
        service, url, calls = asked
        with flooded(url, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"):
            assert seconds_of_a_callback(service, url) < 2
            assert httpx.get(f"{url}/readyz", timeout=30).json()["kafka"] == "ok"
        assert len(calls) == 1

    def test_answer_follows_the_parts_within_a_second(self, service):
        assert service.client.get("/readyz").json()["kafka"] == "ok"
        service.publisher.fails_from = 0
        time.sleep(1.1)
        assert service.client.get("/readyz").json()["kafka"] == "down"


def test_tokens_of_strangers_do_not_slow_a_callback(serve, monkeypatch):
    """Each names a key that is unknown, so the issuer is asked, and it is slow."""
    service = serve()
    monkeypatch.setattr(service.services.callers, "by_token", lambda _token: time.sleep(3))
    request = b"GET /v1/profiles/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n\r\n"
    with (
        serve_on_port(service.app, service.services.api) as url,
        flooded(url, request),
    ):
        assert seconds_of_a_callback(service, url) < 2


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
                made = socket.create_connection(("127.0.0.1", port))
                made.settimeout(10)
                return stack.enter_context(made)

            yield open_connection

    @staticmethod
    def seconds_open(connection):
        """How long until the server ends the connection."""
        began = time.perf_counter()
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(65536):
                pass
        return time.perf_counter() - began

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
    def test_half_sent_request_is_closed(self, service, connect, sent):
        connection = connect()
        connection.sendall(sent.replace(b"KEY", service.keys["all"].encode()))
        assert SLOW_SECONDS * 0.5 < self.seconds_open(connection) < SLOW_SECONDS + 1.5

    @pytest.mark.parametrize(
        "start", [b"GET /healthz HTTP/1.1\r\nX: ", POST + b"Content-Length: 999\r\n\r\n"]
    )
    def test_request_that_trickles_is_closed(self, service, connect, start):
        connection, began = connect(), time.perf_counter()
        connection.sendall(start.replace(b"KEY", service.keys["all"].encode()))
        with contextlib.suppress(ConnectionError):
            while time.perf_counter() - began < 3 * SLOW_SECONDS:
                connection.sendall(b"x")
                time.sleep(0.1)
        assert time.perf_counter() - began < 2 * SLOW_SECONDS

    def test_second_request_has_its_own_time(self, connect):
        connection = connect()
        for _ in range(3):
            connection.sendall(b"GET /healthz HTTP/1.1\r\n")
            time.sleep(SLOW_SECONDS / 2)
            connection.sendall(b"Host: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200")

    def test_slow_operation_is_not_cut(self, service, connect):
        """Only what a client sends is timed, not what the service does."""
        service.publisher.publish = slowly(service.publisher.publish, 2 * SLOW_SECONDS)
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
            # The answers fill every buffer, the service stops reading, then this one is full too.
            connection.sendall(request * 200_000)

    def test_connection_beyond_the_limit_is_closed_at_once(self, connect):
        held = [connect() for _ in range(5)]
        assert self.seconds_open(connect()) < 0.4
        for connection in held:
            self.seconds_open(connection)
        connection = connect()
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def slowly(function, seconds):
    def call(*arguments):
        time.sleep(seconds)
        return function(*arguments)

    return call
