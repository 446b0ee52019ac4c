"""The HTTP service of `sink-runner api`: routes of plugins that publish events or answer queries.

No other package imports it.  It writes no source or target table: an accepted event is in Kafka,
encoded as by Debezium, before the caller gets the response.
"""
