"""The local stack with TLS and logins on every listener that the product uses.

The stack's administration and the tests use separate loopback listeners without TLS.
"""

import os
import pwd
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ResourcePattern,
    ResourceType,
    UserScramCredentialUpsertion,
)
from kafka.admin import ACLResourcePatternType as Pattern
from sink_stack import ports
from sink_stack.processes import Command, Running, Supervisor
from sink_stack.settings import DATABASES
from sink_stack.stack import Stack
from sink_stack.testing_stack import StackUnderTest

from ...support.certificates import Authority
from ..schema_registry.server import write_properties

RUNNER, CAPTURE = "sink", "capture"
_KAFKA = """
listeners=PLAINTEXT://127.0.0.1:{internal},CONTROLLER://127.0.0.1:{controller},\
SASL_SSL://127.0.0.1:{port}
advertised.listeners=PLAINTEXT://127.0.0.1:{internal},SASL_SSL://127.0.0.1:{port}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
sasl.enabled.mechanisms=SCRAM-SHA-512
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
"""
_HBA = """
hostssl all postgres 127.0.0.1/32 scram-sha-256
hostssl all sink_capture 127.0.0.1/32 scram-sha-256
hostssl all sink_writer,sink_reader 127.0.0.1/32 scram-sha-256 clientcert=verify-ca
"""
_OPERATIONS = {
    RUNNER: [
        (ResourceType.TOPIC, "smart_", ACLOperation.READ),
        (ResourceType.TOPIC, "smart_", ACLOperation.DESCRIBE),
        (ResourceType.TOPIC, "smart_", ACLOperation.DESCRIBE_CONFIGS),
        (ResourceType.TOPIC, "smart_warehouse.forecast.benefit_forecasts", ACLOperation.WRITE),
        (ResourceType.TOPIC, "smart_warehouse.alerts.ml_alert_outbox", ACLOperation.WRITE),
        (ResourceType.TOPIC, "sink.dead-letters.", ACLOperation.WRITE),
        (ResourceType.GROUP, "sink.", ACLOperation.READ),
    ],
    CAPTURE: [
        (ResourceType.TOPIC, "smart_", ACLOperation.WRITE),
        (ResourceType.TOPIC, "smart_", ACLOperation.DESCRIBE),
        (ResourceType.TOPIC, "__debezium-heartbeat.", ACLOperation.WRITE),
        (ResourceType.TOPIC, "__debezium-heartbeat.", ACLOperation.DESCRIBE),
    ],
}
"""The ACLs of docs/guide/kafka-security.md and debezium-config/README.md; names are prefixes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecureListeners:
    """Ports, certificates and passwords of the secure listeners."""

    folder: Path
    authority: Authority
    kafka: int
    registry: int
    passwords: Mapping[str, str]

    @classmethod
    def make(cls, folder: Path) -> "SecureListeners":
        kafka = ports.any_free(frozenset())
        return cls(
            folder=folder,
            authority=Authority(folder),
            kafka=kafka,
            registry=ports.any_free(frozenset([kafka])),
            passwords={name: f"zq7{name}-horse" for name in (RUNNER, CAPTURE)},
        )

    def environment(self) -> dict[str, str]:
        """Return the runner's environment variables that differ from a stack without TLS."""
        return {
            "SINK_KAFKA": f"127.0.0.1:{self.kafka}",
            "SINK_KAFKA_PROTOCOL": "SASL_SSL",
            "SINK_KAFKA_CA_FILE": str(self.authority.file),
            "SINK_KAFKA_MECHANISM": "SCRAM-SHA-512",
            "SINK_KAFKA_USERNAME": RUNNER,
            "SINK_KAFKA_PASSWORD": self.passwords[RUNNER],
            "SINK_REGISTRY": f"https://127.0.0.1:{self.registry}/apis/ccompat/v7",
            "SINK_REGISTRY_CA_FILE": str(self.authority.file),
            "SINK_REGISTRY_USERNAME": RUNNER,
            "SINK_REGISTRY_PASSWORD": self.passwords[RUNNER],
        }

    def capture_environment(self) -> dict[str, str]:
        """Return Debezium Server's variables that differ from a stack without TLS."""
        authority = str(self.authority.file)
        return {
            "CAPTURE_DATABASE_CA_FILE": authority,
            "CAPTURE_KAFKA": f"127.0.0.1:{self.kafka}",
            "CAPTURE_KAFKA_CA_FILE": authority,
            "CAPTURE_KAFKA_USERNAME": CAPTURE,
            "CAPTURE_KAFKA_PASSWORD": self.passwords[CAPTURE],
            "CAPTURE_REGISTRY": f"https://127.0.0.1:{self.registry}/apis/registry/v3",
            "CAPTURE_REGISTRY_CA_FILE": authority,
            "CAPTURE_REGISTRY_USERNAME": RUNNER,
            "CAPTURE_REGISTRY_PASSWORD": self.passwords[RUNNER],
        }


class SecureSupervisor(Supervisor):
    """Starts each part with TLS and a login."""

    def __init__(self, stack: Stack, listeners: SecureListeners) -> None:
        super().__init__(stack.layout)
        self._stack = stack
        self._listeners = listeners
        self._registry = write_properties(
            listeners.folder,
            port=listeners.registry,
            authority=listeners.authority,
            user=RUNNER,
            password=listeners.passwords[RUNNER],
        )
        certificate, key = listeners.authority.issue("broker")
        self._keystore = listeners.folder / "broker.pem"
        self._keystore.write_text(key.read_text() + certificate.read_text())
        self._certificate = listeners.authority.issue("postgres")

    def current(self, command: Command) -> bool:
        return super().current(self._secured(command))

    def start(self, command: Command) -> Running:
        if command.name in DATABASES:
            self._create_users()
        return super().start(self._secured(command))

    def _secured(self, command: Command) -> Command:
        match command.name:
            case "kafka":
                self._configure_kafka()
            case "registry":
                variables = {"QUARKUS_CONFIG_LOCATIONS": str(self._registry)}
                return replace(command, env={**command.env, **variables})
            case "postgres":
                return self._postgres(command)
            case name if name in DATABASES:
                return self._capture(command)
        return command

    def _configure_kafka(self) -> None:
        """Append properties; in a properties file, later lines override earlier ones."""
        path, settings = self._layout.conf / "kafka.properties", self._stack.settings
        text = path.read_text(encoding="utf-8")
        if "StandardAuthorizer" not in text:
            more = _KAFKA.format(
                internal=settings.port("kafka"),
                controller=settings.port("kafka_controller"),
                port=self._listeners.kafka,
                keystore=self._keystore,
            )
            path.write_text(text + more, encoding="utf-8")

    def _postgres(self, command: Command) -> Command:
        """Copy the certificates to a folder that the server's user can read."""
        files = {"ssl_ca_file": self._listeners.authority.file}
        files |= dict(zip(("ssl_cert_file", "ssl_key_file"), self._certificate, strict=True))
        hba = self._listeners.folder / "hba.conf"
        hba.write_text(_HBA)
        argv = [*command.argv, "-c", "ssl=on"]
        for name, source in (files | {"hba_file": hba}).items():
            copy = command.cwd / f"secure-{source.name}"
            shutil.copyfile(source, copy)
            copy.chmod(0o600)
            if command.user:
                owner = pwd.getpwnam(command.user)
                os.chown(copy, owner.pw_uid, owner.pw_gid)
            argv += ["-c", f"{name}={copy}"]
        return replace(command, argv=argv)

    def _capture(self, command: Command) -> Command:
        secure = self._layout.capture / "secure.properties"
        argv = [
            f"{part},{secure}" if part.startswith("-Dquarkus.config.locations=") else part
            for part in command.argv
        ]
        env = {**command.env, **self._listeners.capture_environment()}
        return replace(command, argv=argv, env=env, watched_files=(*command.watched_files, secure))

    def _create_users(self) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self._stack.settings.kafka)
        for name, password in self._listeners.passwords.items():
            change = UserScramCredentialUpsertion(name, "SCRAM-SHA-512", password)
            assert admin.alter_user_scram_credentials([change]) == {name: None}
        done = admin.create_acls(
            [
                ACL(
                    f"User:{user}",
                    "*",
                    operation,
                    ACLPermissionType.ALLOW,
                    ResourcePattern(kind, name, Pattern.PREFIXED),
                )
                for user, granted in _OPERATIONS.items()
                for kind, name, operation in granted
            ]
        )
        assert not done["failed"]
        admin.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class SecureStack(StackUnderTest):
    """A stack whose runners use the secure listeners, and whose tests use the others."""

    listeners: SecureListeners

    @property
    def env(self) -> dict[str, str]:
        found = {**self.stack.environment(), **self.listeners.environment()}
        certificate, key = (
            self.listeners.folder / "client.crt",
            self.listeners.folder / "client.key",
        )
        tls = f"sslmode=verify-full&sslrootcert={self.listeners.authority.file}"
        tls += f"&sslcert={certificate}&sslkey={key}"
        dsns = {
            name: f"{text}?{tls}"
            for name, text in found.items()
            if name.startswith("SINK_") and name.endswith("_DSN")
        }
        return found | dsns

    @property
    def kafka(self) -> str:
        return self.settings.kafka
