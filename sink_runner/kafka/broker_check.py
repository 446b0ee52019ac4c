"""Find out why a client cannot use Kafka: credentials, certificates or ACLs, or an outage.

The clients retry a refused login and an untrusted certificate for as long as a lost connection, and
then report a timeout.  So after a failure this module connects to each bootstrap broker once more.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from kafka.errors import (
    AuthorizationError,
    BrokerResponseError,
    KafkaError,
    SaslAuthenticationFailedError,
    UnsupportedSaslMechanismError,
)
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector

from ..config.tls import Refusal, refusal
from ..errors import AccessError, ConfigError, RetriableError, SinkError
from .connection import KafkaConnection
from .oauth import token_source

_SECONDS = 5.0
_ADVICE: Mapping[Refusal, str] = {
    "untrusted": "check kafka.security.ca_file, and kafka.bootstrap for its host name",
    "certificate": "check kafka.security.certificate_file and key_file",
    "no TLS": "check kafka.security.protocol and kafka.bootstrap",
    "TLS": "set kafka.security.protocol to SSL or SASL_SSL",
}
MEMBERSHIP_ERRORS: Mapping[str, str] = {
    "INVALID_SESSION_TIMEOUT": (
        "kafka.membership.session_seconds is less than the brokers' group.min.session.timeout.ms, "
        "or more than their group.max.session.timeout.ms: change one of them"
    ),
    "FENCED_INSTANCE_ID": (
        "another runner has the same kafka.membership.instance_id: each needs its own"
    ),
    "INCONSISTENT_GROUP_PROTOCOL": (
        "other runners of this mapping have another kafka.membership.assignment: set the same "
        "value, and stop those runners before this one starts"
    ),
}
"""Why the coordinator of a group refuses a member, by Kafka's names of the errors."""


def client_error(connection: KafkaConnection, fault: KafkaError) -> SinkError:
    """Return what to raise for an error of kafka-python: an AccessError or a RetriableError."""
    if isinstance(fault, SaslAuthenticationFailedError | UnsupportedSaslMechanismError):
        return login_error(connection)
    if isinstance(fault, AuthorizationError):
        return acl_error(connection, type(fault).__name__)
    if isinstance(fault, BrokerResponseError) and fault.message in MEMBERSHIP_ERRORS:
        return membership_error(connection, fault.message)
    return outage_error(connection, type(fault).__name__)


def membership_error(connection: KafkaConnection, name: str) -> AccessError:
    """Return the error for a member that the group's coordinator refuses."""
    return AccessError(f"Kafka at {connection.bootstrap}: {MEMBERSHIP_ERRORS[name]}")


def outage_error(connection: KafkaConnection, name: str) -> SinkError:
    """Return the error for a client that got no answer: the reason, if it can be found."""
    try:
        check_access(connection)
    except ConfigError as found:
        return found
    except RetriableError as found:
        return RetriableError(f"{found}: {name}")
    return RetriableError(f"Kafka does not answer: {name}")


def is_reachable(connection: KafkaConnection, seconds: float) -> bool:
    """Whether a bootstrap broker accepts a connection within `seconds`.

    A producer notices that only by a failure, and then leaves its sockets open.
    """
    for address in connection.brokers():
        with suppress(OSError), socket.create_connection(address, seconds):
            return True
    return False


def check_access(connection: KafkaConnection) -> None:
    """Check TLS and login at each bootstrap broker that can be reached.

    Raises AccessError; RetriableError if no broker answers.
    """
    answered = False
    for host, port in connection.brokers():
        try:
            with socket.create_connection((host, port), _SECONDS) as raw:
                answered = True
                _check_tls(connection, host, port, raw)
        except OSError:  # an outage: not reachable, or it closes connections
            continue
    if not answered:
        raise RetriableError("Kafka does not answer")
    if connection.security.has_login:
        _check_login(connection)


def login_error(connection: KafkaConnection) -> AccessError:
    """Return the error for credentials, or a mechanism, that Kafka does not accept."""
    security = connection.security
    if security.oauth is not None:
        token_source(security.oauth).forget()
        who, keys = "the token", "kafka.security.oauth"
    else:
        who = f"user {security.username!r}"
        keys = "kafka.security.username and kafka.security.password"
    return AccessError(
        f"Kafka at {connection.bootstrap} refuses the login of {who} by {security.mechanism}: "
        f"check {keys}, and that the listener offers this mechanism"
    )


def acl_error(connection: KafkaConnection, name: str) -> AccessError:
    """Return the error for a missing ACL; `name` is the client's name of it."""
    security = connection.security
    who = f"user {security.username!r}" if security.username else "the runner's principal"
    if not security.has_login and security.certificate_file:
        who = f"the subject of kafka.security.certificate_file {security.certificate_file}"
    return AccessError(
        f"Kafka at {connection.bootstrap} denies access ({name}): give {who} the ACLs of "
        "docs/guide/kafka-security.md with kafka-acls.sh"
    )


def _check_tls(connection: KafkaConnection, host: str, port: int, raw: socket.socket) -> None:
    security = connection.security
    context = connection.tls_context() if security.is_encrypted else None
    if found := refusal(raw, host, context, _ADVICE):
        raise AccessError(f"Kafka broker {host}:{port} {found}")


class _Connections(KafkaConnectionManager):  # type: ignore[misc] # kafka-python ships no types
    """Reads the response that a broker sends before it closes a connection.

    kafka-python drops it if both arrive together, as with a refused login.
    """

    async def _build_transport(self, *args: Any, **options: Any) -> Any:
        transport = await super()._build_transport(*args, **options)
        receive, ends = transport._sock_recv, list[Exception]()  # noqa: SLF001

        def receive_before_end() -> tuple[bytes, Exception | None]:
            if ends:
                return b"", ends.pop()
            data, end = receive()
            if data and end:
                ends.append(end)
                end = None
            return data, end

        transport._sock_recv = receive_before_end  # noqa: SLF001
        return transport


def _check_login(connection: KafkaConnection) -> None:
    """Log in with kafka-python's connection class: a client does not report its error."""
    net = NetworkSelector()
    manager = _Connections(net, **connection.for_kafka_python("admin", {}))

    async def connect(node: str) -> Any:
        await manager.get_connection(
            node,
            timeout_ms=_SECONDS * 1000,
            pop_on_close=False,
            refresh_metadata_on_err=False,
        )

    try:
        for broker in manager.cluster.bootstrap_brokers():
            try:
                net.run(connect, broker.node_id)
            except (SaslAuthenticationFailedError, UnsupportedSaslMechanismError):
                raise login_error(connection) from None
            except KafkaError:
                continue
    finally:
        manager.close()
        net.close()
