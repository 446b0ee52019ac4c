"""The HTTP service: events to publish and masked queries, for the routes that plugins declare.

A process of its own (`sink-runner api`), used by no other package.  It writes no table of either
database: an accepted event is in Kafka, as Debezium would write it, before the caller is answered.
"""
