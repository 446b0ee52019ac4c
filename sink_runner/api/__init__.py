"""The HTTP service: events to publish and masked queries, for the routes that plugins declare.

It stands beside the runner and writes no table of either database: what it accepts is in Kafka,
in Debezium's own form, before it answers.
"""
