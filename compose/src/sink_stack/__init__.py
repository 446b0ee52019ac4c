"""The local stack: real PostgreSQL, Kafka, schema registry and Debezium Server."""
