"""Every use of Kafka by both clients on a real broker with TLS, mTLS, SASL and ACLs."""

import base64
import http.server
import json
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import UserScramCredentialUpsertion

from sink_runner.api.publisher import Publisher
from sink_runner.dlq.producer import Producer
from sink_runner.dlq.record import Record
from sink_runner.errors import AccessError, RetriableError
from sink_runner.kafka.connection import KafkaConnection
from sink_runner.kafka.feed import Feed
from sink_runner.kafka.kafka_python import KafkaPythonFeed
from sink_runner.kafka.offset_queries import epoch_end, topic_bounds
from sink_runner.kafka.topic_checks import read_topic
from sink_runner.kafka.topic_identity import identify

from ...support.certificates import Authority
from .broker import USER, USER_WITHOUT_ACL, Broker
from .conftest import COUNT, TOPIC

pytestmark = pytest.mark.secure
KEY_PASSWORD = "key horse"
Login = Callable[..., KafkaConnection]


def librdkafka(*args: Any, **options: Any) -> Feed:
    from sink_runner.kafka.librdkafka import LibrdkafkaFeed  # noqa: PLC0415 - an extra

    return LibrdkafkaFeed(*args, **options)


LEAVES_SOCKETS_OPEN = pytest.mark.usefixtures("abandoned_sockets")
CLIENTS = pytest.mark.parametrize("client", [KafkaPythonFeed, librdkafka])


def jwt(subject: str, seconds: float = 300) -> str:
    """Return a token that the broker accepts without a signature."""

    def part(table: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(table).encode()).decode().rstrip("=")

    now = int(time.time())
    return f"{part({'alg': 'none'})}.{part({'sub': subject, 'iat': now, 'exp': now + seconds})}."


@pytest.fixture
def endpoint(broker: Broker) -> Iterator[tuple[str, list[str]]]:
    """The URL of a token endpoint with TLS, and the credentials that its callers sent."""
    calls: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
            assert sent == "grant_type=client_credentials&scope=kafka"
            credentials = base64.b64decode(self.headers["Authorization"].split()[1]).decode()
            calls.append(credentials)
            is_known = credentials == "runner:client horse ż"
            self.send_response(200 if is_known else 401)
            self.end_headers()
            self.wfile.write(json.dumps({"access_token": jwt(USER), "expires_in": 300}).encode())

        def log_message(self, *_args: Any) -> None:
            """Keep the output of the tests clean."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*broker.authority.issue("issuer"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}/token", calls
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(
    params=["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "token", "client-credentials", "mTLS"]
)
def connection(
    request: pytest.FixtureRequest, broker: Broker, connect: Any, login: Login, endpoint: Any
) -> KafkaConnection:
    kind = request.param
    if kind == "mTLS":
        certificate, key = broker.authority.issue(USER, password=KEY_PASSWORD)
        return connect(
            broker.mtls,
            protocol="SSL",
            ca_file=str(broker.authority.file),
            certificate_file=str(certificate),
            key_file=str(key),
            key_password=KEY_PASSWORD,
        )
    if kind == "token":
        code = f"print({jwt(USER)!r})"
        return connect_by_oauth(login, token={"command": [sys.executable, "-c", code]})
    if kind == "client-credentials":
        return connect_by_oauth(login, **client_credentials(endpoint[0], broker))
    return login(mechanism=kind)


def client_credentials(url: str, broker: Broker, secret: str = "client horse ż") -> dict[str, Any]:
    return {
        "token_endpoint": url,
        "client_id": "runner",
        "client_secret": secret,
        "scope": "kafka",
        "ca_file": str(broker.authority.file),
    }


def connect_by_oauth(login: Login, **oauth: Any) -> KafkaConnection:
    return login(mechanism="OAUTHBEARER", username=None, password=None, oauth=oauth)


def read(feed: Feed, count: int) -> list[bytes | None]:
    found: list[bytes | None] = []
    deadline = time.monotonic() + 30
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} records arrived"
        found += [one.value for part in feed.poll(0.2).values() for one in part]
    return found


def poll_and_ping(feed: Feed, seconds: float) -> None:
    """Poll and ping, as a worker without records does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        feed.poll(0.5)
        feed.ping()


# -- accepted connections ------------------------------------------------------------------------


@CLIENTS
def test_feed_reads_over_each_listener(client: Any, connection: KafkaConnection) -> None:
    feed = client(connection, "sink.reader", TOPIC, max_records=100)
    try:
        assert read(feed, COUNT) == [b"%d" % number for number in range(COUNT)]
        feed.ping()
        assert feed.bounds(0).end == COUNT
    finally:
        feed.close()


def test_queries_and_producers_use_each_listener(connection: KafkaConnection) -> None:
    topic = identify(connection, TOPIC)
    assert topic.name == TOPIC
    facts = read_topic(connection, TOPIC)
    assert facts is not None
    assert facts.number("max.message.bytes")
    assert epoch_end(connection, TOPIC, 0, 0).offset == COUNT
    assert topic_bounds(connection, TOPIC)[0].end == COUNT
    producer = Producer(connection)
    producer.send([Record("secure.sent", b"k", b"encrypted", ())])
    producer.close()
    publisher = Publisher(connection, delivery_seconds=5, max_record_bytes=1000)
    (offset,) = publisher.publish("secure.sent", [(b"k", b"v")])
    publisher.close()
    assert offset is not None


def test_all_clients_share_one_token(broker: Broker, login: Login, endpoint: Any) -> None:
    url, calls = endpoint
    connection = connect_by_oauth(login, **client_credentials(url, broker))
    for _ in range(3):
        identify(connection, TOPIC)
    assert len(calls) == 1


@LEAVES_SOCKETS_OPEN
@CLIENTS
def test_rotated_password_is_read_by_the_next_client(client: Any, login: Login, tmp_path) -> None:
    file = tmp_path / "password"
    file.write_text("old")
    connection = login(password={"file": str(file)})
    with pytest.raises(AccessError):
        identify(connection, TOPIC)
    file.write_text("correct horse")
    feed = client(connection, "sink.rotated", TOPIC, max_records=100)
    try:
        assert len(read(feed, COUNT)) == COUNT
    finally:
        feed.close()


@LEAVES_SOCKETS_OPEN
@CLIENTS
def test_running_feed_reports_that_its_password_was_changed(
    client: Any, broker: Broker, login: Login, tmp_path
) -> None:
    """The broker requires a new login every 3 seconds for SCRAM-SHA-256."""
    file, name = tmp_path / "password", f"rotated-{client.__name__}".lower()
    file.write_text("old horse")
    set_password(broker, name, "old horse")
    connection = login(mechanism="SCRAM-SHA-256", username=name, password={"file": str(file)})
    feed = client(connection, "sink.running", TOPIC, max_records=100)
    try:
        read(feed, COUNT)
        poll_and_ping(feed, 5)  # logs in again
        set_password(broker, name, "new horse")
        with pytest.raises(AccessError, match="refuses the login"):
            poll_and_ping(feed, 30)
    finally:
        feed.close()
    file.write_text("new horse")
    identify(connection, TOPIC)


def set_password(broker: Broker, name: str, password: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=broker.internal)
    change = UserScramCredentialUpsertion(name, "SCRAM-SHA-256", password)
    assert admin.alter_user_scram_credentials([change]) == {name: None}
    while admin.describe_user_scram_credentials([name])[name]["error"]:
        time.sleep(0.1)  # the broker applies the change a little later
    admin.close()


# -- refused connections -----------------------------------------------------------------------


def assert_each_use_fails(connection: KafkaConnection, kind: type[Exception], *texts: str) -> None:
    """Assert that queries, dead letters and the feeds of both clients raise the error."""

    def query() -> None:
        identify(connection, TOPIC)

    def send() -> None:
        Producer(connection).send([Record("secure.sent", b"k", b"v", ())])

    def poll(client: Any) -> None:
        feed = client(connection, "sink.refused", TOPIC, max_records=10)
        try:
            poll_and_ping(feed, 20)
        finally:
            feed.close()

    uses: list[Callable[[], None]] = [
        query,
        send,
        lambda: poll(KafkaPythonFeed),
        lambda: poll(librdkafka),
    ]
    for use in uses:
        with pytest.raises(kind) as caught:
            use()
        for text in texts:
            assert text in str(caught.value)
        assert "horse" not in str(caught.value)


@LEAVES_SOCKETS_OPEN
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_wrong_password_names_broker_and_setting(
    broker: Broker, login: Login, mechanism: str
) -> None:
    connection = login(mechanism=mechanism, password="wrong horse")
    assert_each_use_fails(
        connection,
        AccessError,
        f"Kafka at {broker.sasl} refuses the login of user 'sink' by {mechanism}",
        "kafka.security.password",
    )


@LEAVES_SOCKETS_OPEN
@pytest.mark.parametrize(
    ("user", "seconds", "reason"),
    [(USER, -60, "has expired"), ("", 300, "refuses the login of the token")],
    ids=["expired", "without a subject"],
)
def test_useless_token_names_its_setting(
    login: Login, user: str, seconds: int, reason: str
) -> None:
    # The token is created here, because a test may run long after it was collected.
    assert_each_use_fails(
        connect_by_oauth(login, token=jwt(user, seconds=seconds)),
        AccessError,
        reason,
        "kafka.security.oauth",
    )


@LEAVES_SOCKETS_OPEN
def test_refused_client_names_the_token_endpoint(
    broker: Broker, login: Login, endpoint: Any
) -> None:
    connection = connect_by_oauth(
        login, **client_credentials(endpoint[0], broker, secret="wrong horse")
    )
    assert_each_use_fails(
        connection, AccessError, "grants no token (status 401)", "oauth.client_id"
    )


@LEAVES_SOCKETS_OPEN
def test_untrusted_certificate_names_the_ca_file(login: Login, tmp_path) -> None:
    connection = login(ca_file=str(Authority(tmp_path, "other").file))
    assert_each_use_fails(
        connection, AccessError, "certificate that is not trusted", "kafka.security.ca_file"
    )


@LEAVES_SOCKETS_OPEN
def test_missing_client_certificate_is_reported(broker: Broker, connect: Any) -> None:
    connection = connect(broker.mtls, protocol="SSL", ca_file=str(broker.authority.file))
    assert_each_use_fails(
        connection, AccessError, "refuses the client certificate", "certificate_file"
    )


@LEAVES_SOCKETS_OPEN
def test_plaintext_to_a_tls_listener_names_the_protocol(broker: Broker, connect: Any) -> None:
    assert_each_use_fails(
        connect(broker.sasl), AccessError, "expects TLS", "kafka.security.protocol"
    )


@LEAVES_SOCKETS_OPEN
def test_missing_acl_is_reported_with_its_user(login: Login) -> None:
    assert_each_use_fails(
        login(mechanism="PLAIN", username=USER_WITHOUT_ACL),
        AccessError,
        "denies access",
        f"user {USER_WITHOUT_ACL!r}",
    )


@LEAVES_SOCKETS_OPEN
def test_outage_of_a_secure_broker_stays_transient(connect: Any, broker: Broker) -> None:
    connection = connect("127.0.0.1:1", protocol="SSL", ca_file=str(broker.authority.file))
    with pytest.raises(RetriableError, match="does not answer"):
        identify(connection, TOPIC)


@LEAVES_SOCKETS_OPEN
def test_publisher_logs_refused_login_once(login: Login, capsys: Any) -> None:
    publisher = Publisher(login(password="wrong horse"), delivery_seconds=5, max_record_bytes=100)
    assert publisher.publish("secure.sent", [(b"k", b"v")]) == [None]
    assert publisher.publish("secure.sent", [(b"k", b"v")]) == [None]
    publisher.close()
    output = capsys.readouterr().out
    assert output.count("kafka_connection_failed") == 1
    assert "refuses the login of user 'sink'" in output


def test_password_is_in_no_log(login: Login, caplog: Any) -> None:
    caplog.set_level("DEBUG", "kafka")
    connection = login()
    KafkaAdminClient(**connection.for_kafka_python("admin", {})).close()
    assert "Starting KafkaAdminClient" in caplog.text
    assert "horse" not in caplog.text
    assert "horse" not in repr(connection)
