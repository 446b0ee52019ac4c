"""The HTTP service: callbacks that become change events, and reads of the warehouse on demand.

It stands beside the runner and writes no table of either database: what it accepts is in Kafka,
in Debezium's own form, before it answers.
"""
