"""Read and write Kafka by kafka-python or librdkafka.

Both clients are behind the protocol `Feed`. Imports `config` and what lies below.
"""
