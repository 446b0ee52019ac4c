"""Which options of the Kafka clients a user may set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .values import hint

# What the runner relies on, or sets from kafka.security; an option may not replace it.  The last
# ones of kafka-python are objects, which TOML cannot hold.
_OWN_PYTHON = """
bootstrap_servers client_id group_id enable_auto_commit auto_offset_reset isolation_level
allow_auto_create_topics max_poll_records acks enable_idempotence transactional_id
security_protocol ssl_context ssl_check_hostname ssl_cafile ssl_certfile ssl_keyfile ssl_password
sasl_mechanism sasl_plain_username sasl_plain_password sasl_oauth_token_provider
key_serializer value_serializer key_deserializer value_deserializer partitioner
partition_assignment_strategy default_offset_commit_callback metric_reporters selector
socket_options kafka_client
"""
_OWN_LIBRDKAFKA = """
bootstrap.servers metadata.broker.list client.id group.id enable.auto.commit
enable.auto.offset.store auto.offset.reset isolation.level allow.auto.create.topics
enable.partition.eof security.protocol sasl.mechanism sasl.mechanisms sasl.username sasl.password
ssl.ca.location ssl.ca.pem ssl.certificate.location ssl.certificate.pem ssl.key.location
ssl.key.pem ssl.key.password ssl.keystore.location ssl.keystore.password
ssl.endpoint.identification.algorithm enable.ssl.certificate.verification
"""
Options = Mapping[str, Mapping[str, Any]]


def option_faults(options: Options) -> Iterator[str]:
    """Describe options that no client has, or that are the runner's own."""
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
