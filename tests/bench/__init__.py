"""Benchmarks: throughput from Kafka to committed rows, and latency from commit to commit."""
