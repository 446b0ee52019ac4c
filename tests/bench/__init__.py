"""Benchmarks: how fast changes get from Kafka into committed rows, and from commit to commit."""
