-- The row after each recorded change: the reference writes the same rows without Kafka.
CREATE UNLOGGED TABLE bench.history (LIKE bench.account);
ALTER PUBLICATION sink_publication ADD TABLE bench.live;
GRANT USAGE ON SCHEMA bench TO sink_capture, sink_reader;
GRANT SELECT ON bench.account, bench.live TO sink_capture, sink_reader;
