
-- What each mapping was planned with: the row of its source table, as Avro's JSON has it, and
-- what a person accepted by `sink-runner schema accept`.
CREATE TABLE IF NOT EXISTS sink.schema_contract (
  mapping    text        PRIMARY KEY,
  columns    jsonb       NOT NULL,       -- in the order of the table
  key        text[],                     -- NULL: not known
  missing    text[]      NOT NULL DEFAULT '{}',
  accepted   bigint[]    NOT NULL DEFAULT '{}',
  updated_at timestamptz NOT NULL DEFAULT now()
);
