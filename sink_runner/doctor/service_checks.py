"""The checks of Kafka, of the schema registry, and of the masking policies."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from ..avro.schema_cache import SchemaCache
from ..errors import RetriableError
from ..kafka.broker_check import check_access, is_reachable
from ..kafka.connection import KafkaConnection
from ..kafka.log_ends import LogEnds
from ..kafka.offset_queries import admin_client
from ..masking.column_origins import read_known_origins
from ..masking.lineage import undecided
from ..masking.ranger.renewal import admin_of
from ..masking.ranger.sync import local_policies
from ..masking.round_trip_check import faults
from ..model.findings import Fault, Finding
from ..plugin import TableMapping
from ..preflight.checklist import check_topic
from ..schema_registry.client import RegistryClient
from .check_group import CheckGroup
from .deployment import Deployment
from .versions import service_versions


def kafka_group(deployment: Deployment) -> CheckGroup:
    """Return the checks of the brokers, and of each mapping's topic."""
    bootstrap = deployment.config.kafka.bootstrap
    return CheckGroup(
        name="kafka",
        checks={
            "brokers": partial(check_brokers, deployment),
            "listeners": partial(check_listeners, deployment),
            "topic": partial(check_topics, deployment),
        },
        version=partial(service_versions, deployment),
        start=f"start Kafka, or correct kafka.bootstrap ({bootstrap}) and the network in between",
        correct="correct [kafka]",
    )


def check_brokers(deployment: Deployment) -> Iterable[Fault]:
    """Find why the brokers can't be used: network, TLS, login."""
    if deployment.streaming:
        check_access(deployment.kafka)
    return ()


def check_listeners(deployment: Deployment) -> Iterator[Fault]:
    """Find brokers whose own address leads nowhere: a client uses it after the first answer."""
    for host, port in read_brokers(deployment.kafka) if deployment.streaming else ():
        address = f"{host}:{port}"
        if not is_reachable(replace(deployment.kafka, bootstrap=address), deployment.seconds / 4):
            yield Fault(
                f"Kafka at {deployment.kafka.bootstrap} answers, and names the broker {address}, "
                "which does not: clients read nothing",
                "an address that leads to the broker from this machine",
                "correct advertised.listeners in the broker's server.properties and restart it",
            )


def read_brokers(kafka: KafkaConnection) -> list[tuple[str, int]]:
    """Return the address of each broker, as the brokers advertise it."""
    with admin_client(kafka) as admin:
        return [(one["host"], one["port"]) for one in admin.describe_cluster()["brokers"]]


def check_topics(deployment: Deployment) -> Iterator[Finding]:
    """Find topics that are missing, or that lose or refuse events."""
    for name, mapping in deployment.streaming.items():
        yield from check_topic(name, mapping, deployment.config)


def registry_group(deployment: Deployment) -> CheckGroup:
    """Return the checks of the schema registry."""
    url = deployment.config.registry.url
    return CheckGroup(
        name="registry",
        checks={
            "registry": partial(check_registry, deployment),
            "subjects": partial(check_subjects, deployment),
        },
        start=f"start the schema registry, or correct registry.url ({url})",
        correct="correct [registry]",
    )


def check_registry(deployment: Deployment) -> Iterable[Fault]:
    """Find why the registry can't be used: network, TLS, login."""
    if deployment.streaming:
        client = RegistryClient(deployment.config.registry)
        client.ask("/subjects", seconds=deployment.seconds / 2)
        client.close()
    return ()


def check_subjects(deployment: Deployment) -> Iterator[Finding]:
    """Find topics with events whose schema the registry does not have."""
    schemas = SchemaCache(deployment.config.registry)
    topics = {name: one.source_table.topic for name, one in deployment.streaming.items()}
    filled = read_filled(deployment.kafka, topics.values())
    for name, topic in topics.items():
        if topic in filled and schemas.latest(f"{topic}-value") is None:
            fault = Fault(
                f"topic {topic} has events, and the schema registry no subject {topic}-value: "
                "none of them can be decoded",
                "the registry that Debezium's converter writes to",
                f"correct registry.url ({deployment.config.registry.url}), or the registry's URL "
                "in Debezium's properties",
            )
            yield Finding(mapping=name, check="subjects", fault=fault)
    schemas.close()


def read_filled(connection: KafkaConnection, topics: Collection[str]) -> set[str]:
    """Return the topics that have events."""
    ends = LogEnds(connection)
    try:
        found = ends.bounds(topics)
    finally:
        ends.close()
    return {
        topic for topic, parts in found.items() if any(it.first < it.end for it in parts.values())
    }


def policies_group(deployment: Deployment) -> CheckGroup:
    """Return the checks of the masking policies, which `policies check` makes."""
    mappings = {
        plugin.name: plugin.mapping
        for plugin in deployment.plugins.values()
        if plugin.mapping is not None
    }
    return CheckGroup(
        name="policies",
        checks={
            "policies": partial(check_policies, deployment),
            "masks": partial(check_masks, deployment, mappings),
            "ranger": partial(check_ranger, deployment),
        },
        start="start the database that does not answer",
        correct=f"correct the files in {deployment.config.policies.directory}, or [policies]; "
        "ranger-policies/README.md has their form",
    )


def check_policies(deployment: Deployment) -> Iterable[Fault]:
    """Find why the policies can't be used: a file, a key, ambiguous policies."""
    deployment.policies()
    return ()


def check_masks(deployment: Deployment, mappings: Mapping[str, TableMapping]) -> Iterator[Fault]:
    """Find personal columns without a mask, useless masks and masked round trips."""
    config, policies = deployment.config, deployment.policies()
    origins, _ = read_known_origins(mappings, lambda: config.readers, strict=config.schema.strict)
    for fault in faults(mappings, policies, origins):
        yield Fault(
            fault,
            "a masking policy for each personal column of a target",
            f"correct the policies in {config.policies.directory}; `sink-runner policies show` "
            "has what applies",
        )
    for column in undecided(mappings, policies, origins):
        yield Fault(
            f"{column} looks personal and is not classified: nothing masks it",
            "each such column in classification.json",
            "add it to classification.json, or to its not_personal",
            refused=False,
        )


def check_ranger(deployment: Deployment) -> Iterator[Fault]:
    """Find that Ranger Admin does not answer, or has other policies than the folder."""
    settings = deployment.config.policies
    if not settings.admin:
        return
    try:
        newest = admin_of(settings).download()
    except RetriableError as away:
        yield Fault(
            f"{away}: the runner masks by the folder, and pauses after "
            f"{settings.max_age_seconds:g} seconds",
            "an answer",
            f"start Ranger Admin, or correct policies.admin ({settings.admin})",
            refused=False,
        )
        return
    if newest != local_policies(settings.directory):
        yield Fault(
            f"{settings.directory} has other policies than Ranger Admin at {settings.admin}",
            "the policies of Ranger Admin; a runner fetches them while it runs",
            "sink-runner policies pull",
            refused=False,
        )
