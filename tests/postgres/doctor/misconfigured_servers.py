"""Misconfigurations of servers and settings: what has to be found, and what to paste."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sink_runner.config import Api, HealthSettings, Kafka, Policies, Quality, Registry
from sink_runner.config.kafka import Security
from sink_runner.config.sections import Deferral, MappingQuality
from sink_runner.doctor import database_checks, service_checks
from sink_runner.kafka import broker_check
from sink_runner.kafka.topic_checks import TopicFacts
from sink_runner.loading.discovery import Plugin, Status
from sink_runner.plugin import Column

from ...support.certificates import Authority
from .conftest import Site
from .misconfigured_mappings import Row, migrate_target

ROLE_HERE = "ALTER ROLE sink_writer IN DATABASE {database}"
LATEST = "(SELECT max(number) FROM sink.migration)"


def setting(name: str, value: str, of: str = ROLE_HERE) -> Callable[[Site], Any]:
    """Return what sets a parameter of the target's sessions."""
    return lambda site: site.run("target", f"{of} SET {name} = {value}", f"{of} RESET {name}")


def patched(module: Any, name: str, value: Any) -> Callable[[Site], Any]:
    return lambda site: site.patch.setattr(module, name, value)


def changed(**sections: Any) -> Callable[[Site], Any]:
    return lambda site: site.changes.update(sections)


def limit_connections(site: Site) -> None:
    site.patch.setattr(database_checks, "SESSIONS_OF_A_MAPPING", 40)
    limit = "ALTER DATABASE {database} CONNECTION LIMIT"
    site.run("target", f"{limit} 20", f"{limit} -1")


def forget_migration(site: Site) -> None:
    migrate_target(site)
    site.run(
        "target", f"CREATE TABLE {{s}}.kept AS SELECT * FROM sink.migration WHERE number = {LATEST}"
    )
    site.run(
        "target",
        f"DELETE FROM sink.migration WHERE number = {LATEST}",
        "INSERT INTO sink.migration SELECT * FROM {s}.kept",
    )


def record_newer_migration(site: Site) -> None:
    migrate_target(site)
    site.run(
        "target",
        "INSERT INTO sink.migration VALUES (9999, 'later', '', '9.0')",
        "DELETE FROM sink.migration WHERE number = 9999",
    )


def unlimited_retention(site: Site) -> None:
    reload = "SELECT pg_reload_conf()"
    site.run("source", f"ALTER SYSTEM RESET max_slot_wal_keep_size; {reload}")
    site.undo.callback(
        site.run, "source", f"ALTER SYSTEM SET max_slot_wal_keep_size = '2GB'; {reload}"
    )


def ask_brokers(site: Site, **kafka: Any) -> None:
    site.patch.setattr(service_checks, "check_access", broker_check.check_access)
    site.changes["kafka"] = Kafka(**kafka)


def ask_a_server_without_tls(site: Site) -> None:
    address = site.registry.url.removeprefix("http://")
    ask_brokers(site, bootstrap=address, security=Security(protocol="SSL"))


def refuse_registry_login(site: Site) -> None:
    site.registry.status = 401


def topic(**settings: str) -> Callable[[Site], Any]:
    facts = TopicFacts("t", 1, settings)
    return lambda site: setattr(site, "topic", facts)


def break_plugin(site: Site) -> None:
    plugin = Plugin(name="broken", entry_points=(), status=Status.ON)
    plugin.fail("ValueError: no")
    site.plugins["broken"] = plugin


def write_to_own_source(site: Site) -> None:
    databases = site.config.databases
    site.changes["databases"] = {**databases, "copy": databases["north"]}


def use_a_short_certificate(site: Site) -> None:
    folder = site.policies.parent
    authority = Authority(folder)
    certificate, key = authority.issue("sink")  # for a day
    security = Security(
        protocol="SSL", ca_file=authority.file, certificate_file=certificate, key_file=key
    )
    site.changes["kafka"] = Kafka(bootstrap="127.0.0.1:1", security=security)


def occupy_port(site: Site) -> None:
    port = site.registry.server.server_port
    site.changes["health"] = HealthSettings(port=port)


def mask_nothing(site: Site) -> None:
    """Write a classified column, without a policy, into the target."""
    site.tables.mapping = replace(
        site.tables.mapping, columns=(Column("id"), Column("v"), Column("email"))
    )


SERVERS = {
    "wrong-password": Row(
        check="database/writer_login",
        problem="password authentication failed",
        remedy="check the password in [databases]",
        breaks=lambda site: site.connect_differently("south", "dsn", password="wrong"),
    ),
    "reader-that-may-not-connect": Row(
        check="database/reader_login",
        problem="permission denied for database",
        remedy="it needs LOGIN, and CONNECT on the database",
        breaks=lambda site: site.run(
            "target",
            "REVOKE CONNECT ON DATABASE {database} FROM sink_reader",
            "GRANT CONNECT ON DATABASE {database} TO sink_reader",
        ),
    ),
    "reader-of-another-database": Row(
        check="database/same_database",
        problem="reader_dsn to postgres",
        remedy="correct reader_dsn in [databases.south]",
        breaks=lambda site: site.connect_differently("south", "reader_dsn", dbname="postgres"),
    ),
    "old-server": Row(
        check="database/server_version",
        problem="is served by PostgreSQL",
        remedy="pg_upgrade",
        breaks=patched(database_checks, "OLDEST_VERSION", 990000),
    ),
    "read-only-role": Row(
        check="database/read_only",
        problem="are read-only",
        remedy='ALTER ROLE "sink_writer" IN DATABASE',
        breaks=setting("default_transaction_read_only", "on"),
        paste="target",
    ),
    "read-only-database": Row(
        check="database/read_only",
        problem="are read-only",
        remedy="ALTER DATABASE",
        breaks=setting("default_transaction_read_only", "on", of="ALTER DATABASE {database}"),
        paste="target",
    ),
    "writer-as-a-replica": Row(
        check="database/replication_role",
        problem="triggers and foreign keys of the targets are not applied",
        remedy="RESET session_replication_role",
        breaks=setting("session_replication_role", "replica"),
        paste="target",
    ),
    "few-connections": Row(
        check="database/connection_limit",
        problem="of the 20 connections",
        remedy="CONNECTION LIMIT 80",
        breaks=limit_connections,
        paste="target",
    ),
    "clock-that-is-behind": Row(
        check="database/clock",
        problem="seconds apart",
        remedy="chronyc makestep",
        breaks=patched(
            database_checks, "read_clock", lambda: datetime.now(UTC) - timedelta(minutes=1)
        ),
    ),
    "pending-migration": Row(
        check="database/migrations",
        problem="are of an older version",
        remedy="run `sink-runner migrate`",
        breaks=forget_migration,
    ),
    "newer-migration": Row(
        check="database/migrations",
        problem="migration 9999 (later)",
        remedy="upgrade this program",
        breaks=record_newer_migration,
    ),
    "unlimited-retention": Row(
        check="database/slot_retention",
        problem="is unlimited: while capture is down the log fills the disk",
        remedy="ALTER SYSTEM SET max_slot_wal_keep_size",
        breaks=unlimited_retention,
        paste="source",
    ),
    "broker-that-is-down": Row(
        check="kafka/brokers",
        problem="Kafka does not answer",
        remedy="start Kafka, or correct kafka.bootstrap (127.0.0.1:1)",
        breaks=partial(ask_brokers, bootstrap="127.0.0.1:1"),
    ),
    "broker-without-tls": Row(
        check="kafka/brokers",
        problem="TLS",
        remedy="check kafka.security.protocol",
        breaks=ask_a_server_without_tls,
    ),
    "unreachable-listener": Row(
        check="kafka/listeners",
        problem="names the broker 127.0.0.1:1, which does not",
        remedy="correct advertised.listeners",
        breaks=patched(service_checks, "read_brokers", lambda _connection: [("127.0.0.1", 1)]),
    ),
    "missing-topic": Row(
        check="kafka/topic",
        problem="does not exist",
        remedy="kafka-topics.sh --bootstrap-server 127.0.0.1:1 --create",
        breaks=lambda site: setattr(site, "topic", None),
    ),
    "compacted-topic": Row(
        check="kafka/topic",
        problem="is compacted",
        remedy="--add-config cleanup.policy=delete",
        breaks=topic(**{"cleanup.policy": "compact"}),
    ),
    "topic-of-an-hour": Row(
        check="kafka/topic",
        problem="keeps events for 1:00:00",
        remedy="--add-config retention.ms=",
        breaks=topic(**{"retention.ms": "3600000"}),
    ),
    "topic-of-small-records": Row(
        check="kafka/topic",
        problem="takes records of up to 1048588 bytes",
        remedy="--add-config max.message.bytes=",
        breaks=topic(**{"max.message.bytes": "1048588"}),
    ),
    "registry-that-is-down": Row(
        check="registry/registry",
        problem="the schema registry does not answer",
        remedy="start the schema registry, or correct registry.url",
        breaks=changed(registry=Registry(url="http://127.0.0.1:1")),
    ),
    "registry-that-wants-a-login": Row(
        check="registry/registry",
        problem="refuses a client without credentials",
        remedy="check registry.username and registry.password",
        breaks=refuse_registry_login,
    ),
    "events-without-a-schema": Row(
        check="registry/subjects",
        problem="no subject north.",
        remedy="correct registry.url",
        breaks=patched(service_checks, "read_filled", lambda _connection, topics: {*topics}),
    ),
    "missing-policies": Row(
        check="policies/policies",
        problem="cannot read",
        remedy="ranger-policies/README.md",
        breaks=changed(policies=Policies(directory=Path("nowhere"))),
    ),
    "unclassified-column-of-text": Row(
        check="policies/masks",
        problem="looks personal and is not classified",
        remedy="add it to classification.json",
        breaks=mask_nothing,
    ),
    "ranger-that-is-down": Row(
        check="policies/ranger",
        problem="Ranger Admin does not answer",
        remedy="start Ranger Admin, or correct policies.admin (http://127.0.0.1:1)",
        breaks=lambda site: site.changes.update(
            policies=Policies(directory=site.policies, admin="http://127.0.0.1:1")
        ),
    ),
    "broken-plugin": Row(
        check="plugins/plugins",
        problem="plugin 'broken' can't be used: ValueError: no",
        remedy="turn it off with [plugins] disabled",
        breaks=break_plugin,
    ),
    "short-tombstones": Row(
        check="settings/retention",
        problem="a deleted row would return",
        remedy="remember_deletes_days = 100",
        breaks=changed(waiting=Deferral(give_up_hours=1200)),
    ),
    "misspelt-mapping": Row(
        check="settings/mapping_names",
        problem="[quality.mappings.bunch]: no plugin has this name",
        remedy="correct the name",
        breaks=changed(quality=Quality(mappings={"bunch": MappingQuality(stale_after_days=1)})),
    ),
    "two-names-of-one-database": Row(
        check="settings/databases",
        problem="dsn of [databases.copy] is that of [databases.north]",
        remedy="correct dsn in [databases.copy]",
        breaks=write_to_own_source,
    ),
    "certificate-of-a-day": Row(
        check="settings/certificates",
        problem="kafka.security.certificate_file",
        remedy="renew it; openssl x509 -enddate",
        breaks=use_a_short_certificate,
    ),
    "port-of-the-api": Row(
        check="settings/ports",
        problem="health.port and api.port are both 28093",
        remedy="port = 28094 in [health]",
        breaks=changed(api=Api(database="north"), health=HealthSettings(port=28093)),
    ),
    "port-of-another-program": Row(
        check="settings/ports",
        problem="another program listens on 127.0.0.1:",
        remedy="ss -ltnp",
        breaks=occupy_port,
    ),
}
