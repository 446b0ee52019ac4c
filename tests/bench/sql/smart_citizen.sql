CREATE UNLOGGED TABLE bench.recorded (LIKE bench.account);
CREATE INDEX ON bench.recorded (revision);
CREATE TABLE bench.copied (LIKE bench.account INCLUDING DEFAULTS);
ALTER TABLE bench.copied ADD PRIMARY KEY (revision);
GRANT USAGE ON SCHEMA bench TO sink_writer, sink_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON bench.account, bench.live TO sink_writer;
