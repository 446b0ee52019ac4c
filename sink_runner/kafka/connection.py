"""Connect clients to Kafka: brokers, security and client options."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.net.compat import KafkaNetClient

from ..config.kafka import Kafka, Membership, Options, Security
from ..config.reader import Secret
from ..errors import ConfigError
from .oauth import TokenSource, token_source

T = TypeVar("T")

_CLIENTS = {"consumer": KafkaConsumer, "producer": KafkaProducer, "admin": KafkaAdminClient}
_ASSIGNORS = {"cooperative": CooperativeStickyAssignor, "eager": RangePartitionAssignor}
_DEFAULT_PORT = 9092
_RETRY_SECONDS = 30.0


class _Hidden(str):
    """A secret whose repr is hidden: kafka-python logs its settings at level DEBUG."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """Brokers, security and client options, from which every client is made."""

    bootstrap: str
    security: Security = field(default_factory=Security)
    options: Options = field(default_factory=dict, repr=False)
    membership: Membership = field(default_factory=Membership)

    @classmethod
    def of(cls, settings: Kafka) -> KafkaConnection:
        """Return the connection that ``[kafka]`` of the configuration describes."""
        return cls(settings.bootstrap, settings.security, settings.options, settings.membership)

    def brokers(self) -> Iterator[tuple[str, int]]:
        """Yield host and port of each bootstrap broker."""
        for broker in self.bootstrap.split(","):
            yield _host_and_port(broker.strip())

    def for_kafka_python(
        self, client: Literal["consumer", "producer", "admin"], settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the arguments of a client: `settings`, the user's options over them, security.

        With `group_id` among the settings, those of the group's member are added.

        Secrets are read again at each call; raises ConfigError where one cannot be read.
        """
        known = _CLIENTS[client].DEFAULT_CONFIG
        options = self.options.get("kafka-python", {})
        return {
            "bootstrap_servers": self.bootstrap,
            **(self._membership_of_python() if "group_id" in settings else {}),
            **settings,
            **{name: value for name, value in options.items() if name in known},
            **self._security_of_python(),
        }

    def _membership_of_python(self) -> dict[str, Any]:
        membership = self.membership
        return {
            "session_timeout_ms": round(membership.session_seconds * 1000),
            "heartbeat_interval_ms": round(membership.heartbeat_seconds * 1000),
            "group_instance_id": membership.instance_id or None,
            "partition_assignment_strategy": [_ASSIGNORS[membership.assignment]],
        }

    def _security_of_python(self) -> dict[str, Any]:
        security, found = self._checked(), dict[str, Any]()
        if security.protocol == "PLAINTEXT":
            return found
        found["security_protocol"] = security.protocol
        if security.is_encrypted:
            files = {
                "ssl_cafile": security.ca_file,
                "ssl_certfile": security.certificate_file,
                "ssl_keyfile": security.key_file,
            }
            # Files, and not a context: each new connection reads them again.
            found |= {name: str(path) for name, path in files.items() if path is not None}
            found["ssl_check_hostname"] = security.check_hostname
            found["ssl_password"] = _Hidden(_read(security.key_password))
        if security.has_login:
            found["sasl_mechanism"] = security.mechanism
            found["sasl_plain_username"] = security.username
            found["sasl_plain_password"] = _Hidden(_read(security.password))
        if security.oauth is not None:
            found["sasl_oauth_token_provider"] = _ready(token_source(security.oauth))
        return found

    def for_librdkafka(
        self,
        settings: Mapping[str, Any],
        report: Callable[[Exception], None] = lambda _: None,
    ) -> dict[str, Any]:
        """Return librdkafka's properties: `settings`, the user's options over them, security.

        With `group.id` among the settings, those of the group's member are added.

        Secrets are read again at each call; raises ConfigError where one cannot be read.  `report`
        gets the later failures to renew a token, since librdkafka's callbacks must not raise.
        """
        return {
            "bootstrap.servers": self.bootstrap,
            **(self._membership_of_librdkafka() if "group.id" in settings else {}),
            **settings,
            **self.options.get("librdkafka", {}),
            **self._security_of_librdkafka(report),
        }

    def _membership_of_librdkafka(self) -> dict[str, Any]:
        membership = self.membership
        found: dict[str, Any] = {
            "session.timeout.ms": round(membership.session_seconds * 1000),
            "heartbeat.interval.ms": round(membership.heartbeat_seconds * 1000),
            # Members of both clients need one name of it.
            "partition.assignment.strategy": _ASSIGNORS[membership.assignment].name,
        }
        if membership.instance_id:
            found["group.instance.id"] = membership.instance_id
        return found

    def _security_of_librdkafka(self, report: Callable[[Exception], None]) -> dict[str, Any]:
        security = self._checked()
        found: dict[str, Any] = {"security.protocol": security.protocol.lower()}
        if security.is_encrypted:
            files = {
                "ssl.ca.location": security.ca_file,
                "ssl.certificate.location": security.certificate_file,
                "ssl.key.location": security.key_file or security.certificate_file,
            }
            found |= {name: str(path) for name, path in files.items() if path is not None}
            check = "https" if security.check_hostname else "none"
            found["ssl.endpoint.identification.algorithm"] = check
            if security.key_password:
                found["ssl.key.password"] = security.key_password.read()
        if security.has_login:
            found["sasl.mechanism"] = security.mechanism
        if security.password:
            found["sasl.username"] = security.username
            found["sasl.password"] = security.password.read()
        if security.oauth is not None:
            found["oauth_cb"] = _callback(_ready(token_source(security.oauth)), report)
        return found

    def tls_context(self) -> ssl.SSLContext:
        """Load certificates and keys.  Raises ConfigError."""
        try:
            return self.security.tls_context()
        except ValueError as fault:
            raise ConfigError(f"kafka.security: {fault}") from None

    def _checked(self) -> Security:
        """Raise ConfigError for an unusable broker or file: a client would only fail to connect."""
        list(self.brokers())
        if self.security.is_encrypted:
            self.tls_context()
        return self.security


def open_client(client: Callable[..., T], settings: Mapping[str, Any]) -> T:
    """Make a client of kafka-python; close its thread and sockets if that fails."""
    opened: list[KafkaNetClient] = []

    def keep(**options: Any) -> KafkaNetClient:
        opened.append(KafkaNetClient(**options))
        return opened[-1]

    try:
        return client(**settings, kafka_client=keep)
    except BaseException:
        for one in opened:
            one.close()
        raise


def _ready(source: TokenSource) -> TokenSource:
    """Fetch the first token, so that an error is raised to the caller."""
    source.current()
    return source


def _callback(
    source: TokenSource, report: Callable[[Exception], None]
) -> Callable[[str], tuple[str, float]]:
    last = source.current()

    def renew(_config: str) -> tuple[str, float]:
        nonlocal last
        try:
            last = source.current()
        except Exception as fault:  # noqa: BLE001 - librdkafka's callbacks must not raise
            report(fault)
            # The broker decides about the old token; librdkafka calls again before this time.
            return last.text, max(last.expires, time.time() + _RETRY_SECONDS)
        return last.text, last.expires

    return renew


def _read(secret: Secret | None) -> str:
    return secret.read() if secret is not None else ""


def _host_and_port(broker: str) -> tuple[str, int]:
    """Split as the clients do: host, host:port, [IPv6] or [IPv6]:port."""
    if broker.startswith("["):
        host, _, port = broker[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = broker.partition(":")
        if ":" in port:  # an IPv6 address without brackets
            host, port = broker, ""
    if port and not port.isdecimal():
        raise ConfigError(f"kafka.bootstrap: {broker!r} is not of the form host:port")
    return host, int(port) if port else _DEFAULT_PORT
