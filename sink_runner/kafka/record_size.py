"""Limits of a record's size from capture to the target; see debezium-config/README.md.

A row of 20 MB fits even if it is binary (base64 adds a third) and its before image is in the same
record.  Each limit is at least as large as the one before it, so that what one part accepts the
next one does not refuse:

    capture's producer <= topic <= broker <= a consumer's fetch <= what a client takes as an answer
"""

from __future__ import annotations

MIB = 1024 * 1024

PRODUCED_BYTES = 64 * MIB
"""A producer's largest request: `max.request.size` of capture and of the dead letters' producer."""
STORED_BYTES = 65 * MIB
"""The limit of topics and broker: `max.message.bytes`, `message.max.bytes`."""
FETCHED_BYTES = 66 * MIB
"""A consumer's largest fetch over all partitions."""
PARTITION_FETCH_BYTES = 4 * MIB
"""The size of a fetch from one partition.  It bounds memory and not a record: Kafka returns the
first batch of a fetch even if it is larger (KIP-74)."""
QUEUED_BYTES = 8 * MIB
"""The size after which librdkafka stops fetching ahead; the last fetch may exceed it."""
RECEIVED_BYTES = 100_000_000
"""The largest response that librdkafka accepts."""
