"""The settings of ``[kafka]``: brokers, a secure connection, options of the clients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from .reader import Minimum, Secret, hint, section
from .tls import TLS_KEYS, Tls, url_faults

Options = Mapping[str, Mapping[str, Any]]

_SASL_KEYS = ("mechanism", "username", "password", "oauth")

# Options that the runner relies on or sets from kafka.security: the settings must not replace
# them.  The last ones of kafka-python are objects, which TOML cannot express.
_OWN_PYTHON = """
bootstrap_servers client_id group_id group_instance_id enable_auto_commit auto_offset_reset
isolation_level allow_auto_create_topics max_poll_records acks enable_idempotence transactional_id
security_protocol ssl_context ssl_check_hostname ssl_cafile ssl_certfile ssl_keyfile ssl_password
sasl_mechanism sasl_plain_username sasl_plain_password sasl_oauth_token_provider
key_serializer value_serializer key_deserializer value_deserializer partitioner
partition_assignment_strategy default_offset_commit_callback metric_reporters selector
socket_options kafka_client
"""
_OWN_LIBRDKAFKA = """
bootstrap.servers metadata.broker.list client.id group.id group.instance.id group.protocol
partition.assignment.strategy enable.auto.commit
enable.auto.offset.store auto.offset.reset isolation.level allow.auto.create.topics
enable.partition.eof security.protocol sasl.mechanism sasl.mechanisms sasl.username sasl.password
ssl.ca.location ssl.ca.pem ssl.certificate.location ssl.certificate.pem ssl.key.location
ssl.key.pem ssl.key.password ssl.keystore.location ssl.keystore.password
ssl.endpoint.identification.algorithm enable.ssl.certificate.verification
"""


@section
class OAuth:
    """The source of the token for mechanism OAUTHBEARER."""

    token: Secret | None = None
    """The token itself, usually from a file or a command that renews it."""
    token_endpoint: str = ""
    """URL that grants tokens for client credentials (OIDC)."""
    client_id: str = ""
    """Id that the token endpoint knows."""
    client_secret: Secret | None = None
    """Secret of that client."""
    scope: str = ""
    """Scope to request; empty: none."""
    ca_file: Path | None = None
    """PEM file of the authorities that sign the token endpoint's certificate."""

    def faults(self) -> Iterator[str]:
        """Describe impossible combinations, by key."""
        if (self.token is None) == (not self.token_endpoint):
            yield "oauth needs either token, or token_endpoint with client_id and client_secret"
        elif self.token_endpoint and not (self.client_id and self.client_secret):
            yield "oauth.token_endpoint needs oauth.client_id and oauth.client_secret"
        if self.ca_file is not None and not self.ca_file.is_file():
            yield f"oauth.ca_file: {self.ca_file} is not a file"


@section
class Security(Tls):
    """How the runner and Kafka authenticate to each other."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """Kafka's security.protocol: SSL is TLS, SASL_SSL is TLS and a login."""
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    """Kafka's sasl.mechanism."""
    username: str = ""
    """User of PLAIN and SCRAM."""
    password: Secret | None = None
    """The user's password; read again for every client."""
    oauth: OAuth | None = None
    allow_plaintext_credentials: bool = False
    """Permit SASL_PLAINTEXT, which sends credentials without encryption."""

    @property
    def is_encrypted(self) -> bool:
        return self.protocol.endswith("SSL")

    @property
    def has_login(self) -> bool:
        return self.protocol.startswith("SASL")

    def _faults(self) -> Iterator[str]:
        if not self.is_encrypted:
            yield from self._unused_faults(TLS_KEYS, "SSL or SASL_SSL")
        if not self.has_login:
            yield from self._unused_faults(_SASL_KEYS, "SASL_SSL")
        elif not self.is_encrypted and not self.allow_plaintext_credentials:
            yield (
                "protocol SASL_PLAINTEXT sends credentials without encryption: use SASL_SSL, or "
                "set allow_plaintext_credentials = true"
            )
        if self.has_login:
            yield from self._login_faults()

    def _unused_faults(self, keys: tuple[str, ...], protocol: str) -> Iterator[str]:
        for key in keys:
            if getattr(self, key):
                yield f"{key} needs protocol {protocol}, not {self.protocol}"

    def _login_faults(self) -> Iterator[str]:
        if self.mechanism is None:
            yield f"mechanism is missing, which protocol {self.protocol} needs"
        elif self.mechanism != "OAUTHBEARER":
            if not (self.username and self.password):
                yield f"username and password are needed for mechanism {self.mechanism}"
            if self.oauth:
                yield f"oauth needs mechanism OAUTHBEARER, not {self.mechanism}"
        elif self.username or self.password:
            yield "username and password need mechanism PLAIN or SCRAM, not OAUTHBEARER"
        elif self.oauth is None:
            yield "oauth is missing, which mechanism OAUTHBEARER needs"
        else:
            yield from self.oauth.faults()
            if self.oauth.token_endpoint:
                yield from url_faults(
                    "oauth.token_endpoint",
                    self.oauth.token_endpoint,
                    login="oauth.client_id and oauth.client_secret",
                    may_be_plaintext=self.allow_plaintext_credentials,
                )


@section
class Membership:
    """How the runners of a mapping share its partitions, as members of a consumer group."""

    session_seconds: Annotated[float, Minimum(0.1)] = 6.0
    """How long after its last heartbeat a runner keeps its partitions: the time until another
    one takes over from a runner that was killed. Brokers refuse less than their
    group.min.session.timeout.ms, 6 s unless it is changed."""
    instance_id: str = ""
    """Kafka's group.instance.id, another one for each runner: a runner that is restarted within
    session_seconds gets its own partitions back, and meanwhile no other runner reads them. Empty:
    a runner that ends hands over its partitions at once."""
    assignment: Literal["cooperative", "eager"] = "cooperative"
    """Which partitions pause when a runner joins or leaves: "cooperative" those that get another
    owner, "eager" all of the mapping. All runners need the same."""

    @property
    def heartbeat_seconds(self) -> float:
        """How often a member learns that others have joined or left."""
        return min(0.5, self.session_seconds / 4)


@section
class Kafka:
    """The brokers of the change events, and the client that reads them."""

    bootstrap: str
    """Brokers to connect to first: host:port, separated by commas."""
    client: Literal["auto", "kafka-python", "librdkafka"] = "auto"
    """The client library; "auto" is "librdkafka", the faster one, where that extra is installed."""
    security: Security = Security()
    membership: Membership = Membership()
    options: Options = field(default_factory=dict, repr=False)
    """Options of the clients, by their own names, in [kafka.options.kafka-python] and
    [kafka.options.librdkafka]; they replace the runner's numbers, but not what it relies on."""

    def __post_init__(self) -> None:
        if self.options and (faults := [*_option_faults(self.options)]):
            raise ValueError("; ".join(faults))


def _option_faults(options: Options) -> Iterator[str]:
    """Describe options that no client has, or that only the runner sets."""
    from kafka import (  # noqa: PLC0415 - only where there are options
        KafkaAdminClient,
        KafkaConsumer,
        KafkaProducer,
    )

    known = {"kafka-python": _OWN_PYTHON.split(), "librdkafka": _OWN_LIBRDKAFKA.split()}
    clients = (KafkaConsumer, KafkaProducer, KafkaAdminClient)
    python: set[str] = set().union(*(client.DEFAULT_CONFIG for client in clients))
    for client, given in options.items():
        if client not in known:
            yield f"options.{client} is unknown{hint(client, known)}"
            continue
        for name in given:
            where = f"options.{client}.{name}"
            is_own = name in known[client] or name.endswith("_cb")
            if is_own or name.startswith("sasl.oauthbearer."):
                yield f"{where} is set by the runner: see kafka.security, kafka and batch"
            elif client == "kafka-python" and name not in python:
                yield f"{where} is unknown{hint(name, python)}"
