"""Debezium change events from Kafka through Python plugins into PostgreSQL."""
