"""Avro decoding of Debezium's records."""

from .decoder import EnvelopeDecoder, KeyDecoder, Plan, Registry, schema_id_of

__all__ = ["EnvelopeDecoder", "KeyDecoder", "Plan", "Registry", "schema_id_of"]
