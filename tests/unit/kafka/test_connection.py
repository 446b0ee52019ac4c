"""Settings of the Kafka clients: security, options and brokers."""

import threading
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import KafkaTimeoutError

from sink_runner.config import Kafka
from sink_runner.config.kafka import Membership, OAuth
from sink_runner.config.reader import Secret, SettingsReader
from sink_runner.errors import AccessError, ConfigError
from sink_runner.kafka.connection import KafkaConnection, open_client
from sink_runner.kafka.oauth import TokenSource
from sink_runner.kafka.topic_identity import TopicWatch
from sink_runner.model.partition import Topic

SECRET = "s3cret-value"
LOGIN = {"mechanism": "PLAIN", "username": "sink", "password": SECRET}


def kafka(folder: Path = Path(), options: Any = None, **security: Any) -> Kafka:
    table = {"bootstrap": "b:9092", "security": security, "options": options or {}}
    return SettingsReader({}, folder).read(Kafka, table, "kafka")


@pytest.mark.parametrize(
    ("security", "message"),
    [
        ({"protocol": "SSSL"}, "kafka.security.protocol must be"),
        (LOGIN, "kafka.security: mechanism needs protocol SASL_SSL, not PLAINTEXT"),
        ({"ca_file": "ca.pem"}, "ca_file needs protocol SSL or SASL_SSL, not PLAINTEXT"),
        ({"protocol": "SSL", "ca_file": "none.pem"}, "ca_file: none.pem: No such file"),
        ({"protocol": "SSL", "ca_file": "empty.pem"}, "kafka.security: ca_file: "),
        ({"protocol": "SSL", "certificate_file": "none.pem"}, "certificate_file: none.pem is not"),
        ({"protocol": "SSL", "key_file": "none.pem"}, "key_file and key_password need certificate"),
        ({"protocol": "SASL_PLAINTEXT", **LOGIN}, "set allow_plaintext_credentials = true"),
        ({"protocol": "SASL_SSL"}, "mechanism is missing"),
        ({"protocol": "SASL_SSL", "mechanism": "PLAIN"}, "username and password are needed"),
        (
            {"protocol": "SASL_SSL", **LOGIN, "password": {"file": "none"}},
            "kafka.security.password: none: No such file",
        ),
        ({"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER"}, "oauth is missing"),
        (
            {"protocol": "SASL_SSL", **LOGIN, "mechanism": "OAUTHBEARER"},
            "username and password need mechanism PLAIN or SCRAM",
        ),
        (
            {"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER", "oauth": {}},
            "oauth needs either token, or token_endpoint",
        ),
        (
            {
                "protocol": "SASL_SSL",
                "mechanism": "OAUTHBEARER",
                "oauth": {
                    "token_endpoint": "http://issuer/token",
                    "client_id": "runner",
                    "client_secret": SECRET,
                },
            },
            "oauth.token_endpoint with http:// sends credentials without encryption",
        ),
        (
            {
                "protocol": "SASL_SSL",
                "mechanism": "OAUTHBEARER",
                "oauth": {
                    "token_endpoint": "HTTP://issuer/token",
                    "client_id": "runner",
                    "client_secret": SECRET,
                },
            },
            "oauth.token_endpoint with http:// sends credentials without encryption",
        ),
        (
            {
                "protocol": "SASL_SSL",
                "mechanism": "OAUTHBEARER",
                "oauth": {
                    "token_endpoint": f"https://runner:{SECRET}@issuer/token",
                    "client_id": "runner",
                    "client_secret": SECRET,
                },
            },
            "set oauth.client_id and oauth.client_secret",
        ),
        (
            {
                "protocol": "SASL_SSL",
                "mechanism": "OAUTHBEARER",
                "oauth": {
                    "token_endpoint": "issuer/token",
                    "client_id": "runner",
                    "client_secret": SECRET,
                },
            },
            "oauth.token_endpoint: expected http://host:port/path",
        ),
    ],
)
def test_error_of_security_names_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, security: dict[str, Any], message: str
) -> None:
    (tmp_path / "empty.pem").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        kafka(**security)
    assert message in str(caught.value)
    assert SECRET not in str(caught.value)


def test_plaintext_credentials_may_be_permitted() -> None:
    settings = kafka(protocol="SASL_PLAINTEXT", **LOGIN, allow_plaintext_credentials=True)
    python = KafkaConnection.of(settings).for_kafka_python("admin", {})
    assert python["security_protocol"] == "SASL_PLAINTEXT"
    assert python["sasl_plain_password"] == SECRET
    assert KafkaConnection.of(settings).for_librdkafka({})["sasl.password"] == SECRET
    assert SECRET not in f"{settings}{KafkaConnection.of(settings)}{python}"


def test_plain_connection_sets_no_security() -> None:
    connection = KafkaConnection("b")
    assert connection.for_kafka_python("admin", {}) == {"bootstrap_servers": "b"}
    properties = {"bootstrap.servers": "b", "security.protocol": "plaintext"}
    assert connection.for_librdkafka({}) == properties


def test_missing_password_file_is_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("x")
    login = LOGIN | {"password": {"file": "password"}}
    settings = kafka(tmp_path, protocol="SASL_PLAINTEXT", **login, allow_plaintext_credentials=True)
    connection = KafkaConnection.of(settings)
    (tmp_path / "password").unlink()
    with pytest.raises(ConfigError, match=r"^kafka.security.password: password: No such file"):
        connection.for_kafka_python("admin", {})


# -- options -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kafka-pyton": {}}, "options.kafka-pyton is unknown; did you mean 'kafka-python'?"),
        ({"kafka-python": {"sesion_timeout_ms": 1}}, "did you mean 'session_timeout_ms'?"),
        ({"kafka-python": {"enable_auto_commit": True}}, "enable_auto_commit is set by the runner"),
        ({"kafka-python": {"sasl_plain_password": SECRET}}, "see kafka.security"),
        ({"librdkafka": {"isolation.level": "x"}}, "isolation.level is set by the runner"),
        ({"librdkafka": {"sasl.oauthbearer.client.secret": SECRET}}, "see kafka.security"),
        ({"librdkafka": {"error_cb": "x"}}, "error_cb is set by the runner"),
    ],
)
def test_reserved_or_unknown_option_is_refused(options: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        kafka(options=options)
    assert message in str(caught.value)
    assert SECRET not in str(caught.value)


def test_options_override_defaults_of_runner() -> None:
    options = {
        "kafka-python": {"session_timeout_ms": 30_000, "request_timeout_ms": 9_000},
        "librdkafka": {"session.timeout.ms": 30_000},
    }
    connection = KafkaConnection.of(kafka(options=options))
    settings = connection.for_kafka_python("consumer", {"session_timeout_ms": 6_000})
    assert settings["session_timeout_ms"] == 30_000
    assert "session_timeout_ms" not in connection.for_kafka_python("producer", {}), (
        "it does not have the option"
    )
    assert connection.for_kafka_python("producer", {})["request_timeout_ms"] == 9_000
    assert connection.for_librdkafka({"session.timeout.ms": 6_000})["session.timeout.ms"] == 30_000


def test_unknown_option_of_librdkafka_is_named() -> None:
    pytest.importorskip("confluent_kafka")
    from sink_runner.kafka.librdkafka import LibrdkafkaFeed  # noqa: PLC0415 - an extra

    connection = KafkaConnection.of(kafka(options={"librdkafka": {"no.such": SECRET}}))
    with pytest.raises(ConfigError, match=r"^kafka.options.librdkafka: .* not accept no.such"):
        LibrdkafkaFeed(connection, "g", "t", max_records=1)


@pytest.mark.usefixtures("abandoned_sockets")
def test_failed_client_leaves_no_thread() -> None:
    settings = KafkaConnection("127.0.0.1:1").for_kafka_python("admin", {})
    with pytest.raises(KafkaTimeoutError):
        open_client(KafkaAdminClient, {**settings, "bootstrap_timeout_ms": 100})
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("kafka-io")]


# -- brokers -----------------------------------------------------------------------------------


def test_brokers_have_default_port_and_may_be_ipv6() -> None:
    bootstrap = "one, two:9093,[::1]:9094,[::1],::1"
    assert [*KafkaConnection(bootstrap).brokers()] == [
        ("one", 9092),
        ("two", 9093),
        ("::1", 9094),
        ("::1", 9092),
        ("::1", 9092),
    ]


def test_broker_with_invalid_port_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^kafka.bootstrap: 'one:x' is not of the form"):
        KafkaConnection("one:x").for_kafka_python("admin", {})


# -- topics and tokens -------------------------------------------------------------------------


def test_refused_access_is_not_a_deleted_topic() -> None:
    def describe() -> Topic:
        raise AccessError("Kafka denies access")

    topic = Topic(cluster_id="c", name="t", topic_id="i")
    watch = TopicWatch("m", topic, describe, lambda *_: pytest.fail("not called"))
    with pytest.raises(AccessError):
        watch.check()


def test_token_is_renewed_before_it_expires() -> None:
    now, tokens = [1000.0], list[str]()

    def token() -> str:
        tokens.append(f"token-{len(tokens)}")
        return tokens[-1]

    source = TokenSource(OAuth(token=Secret(token)), clock=lambda: now[0])
    assert source.current() == ("token-0", 1300.0)
    now[0] += 239
    assert source.token() == "token-0"
    now[0] += 2
    assert source.token() == "token-1"
    source.forget()
    assert source.token() == "token-2"


def test_membership_has_same_meaning_for_both_clients() -> None:
    membership = Membership(session_seconds=3, instance_id="one", assignment="eager")
    connection = KafkaConnection("b", membership=membership)
    python = connection.for_kafka_python("consumer", {"group_id": "g"})
    assert python.pop("partition_assignment_strategy") == [RangePartitionAssignor]
    assert python == {
        "bootstrap_servers": "b",
        "group_id": "g",
        "session_timeout_ms": 3000,
        "heartbeat_interval_ms": 500,
        "group_instance_id": "one",
    }
    assert connection.for_librdkafka({"group.id": "g"}) == {
        "bootstrap.servers": "b",
        "security.protocol": "plaintext",
        "group.id": "g",
        "session.timeout.ms": 3000,
        "heartbeat.interval.ms": 500,
        "group.instance.id": "one",
        "partition.assignment.strategy": "range",
    }


def test_consumer_without_group_has_no_membership() -> None:
    settings = KafkaConnection("b").for_kafka_python("consumer", {"enable_auto_commit": False})
    assert settings.keys() == {"bootstrap_servers", "enable_auto_commit"}
