-- A copy of the source's bench.history, and the target of COPY, both for the reference.
CREATE UNLOGGED TABLE bench.history (LIKE bench.account);
CREATE INDEX ON bench.history (revision);
CREATE TABLE bench.copy_target (LIKE bench.account INCLUDING DEFAULTS);
ALTER TABLE bench.copy_target ADD PRIMARY KEY (revision);
GRANT USAGE ON SCHEMA bench TO sink_writer, sink_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON bench.account, bench.live TO sink_writer;
