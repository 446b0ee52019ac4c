-- The runner's own tables.  Versions without migrations made some of them with fewer columns;
-- those are completed here, and the last statement refuses a layout that no version had.

-- How far each partition has been applied.  Written in the transaction that applies it, so
-- that every effect happens once; `epoch` fences off a runner that lost the partition.
CREATE TABLE IF NOT EXISTS sink.partition_offset (
  mapping     text        NOT NULL,
  cluster_id  text        NOT NULL,
  topic       text        NOT NULL,
  topic_id    text        NOT NULL,
  partition   int         NOT NULL,
  next_offset bigint,                -- NULL: claimed, but nothing applied yet
  epoch       bigint      NOT NULL DEFAULT 1,
  owner       text        NOT NULL,
  updated_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (mapping, cluster_id, topic, topic_id, partition)
);
ALTER TABLE sink.partition_offset
  ADD COLUMN IF NOT EXISTS leader_epoch int NOT NULL DEFAULT -1; -- Kafka's, of the last record; -1: unknown

-- What the target tables have no column for: the log position of rows that were deleted, so
-- that an older event can't bring them back; and of the rows of mappings whose source always
-- wins, so that an older row of a batch can't win over an event, nor an older event over it.
CREATE TABLE IF NOT EXISTS sink.row_version (
  mapping    text        NOT NULL,
  key        text        NOT NULL,   -- hash of the key's columns
  position   bigint,                 -- NULL: the last change had no place in the log
  deleted_at timestamptz,            -- NULL: the row is there
  PRIMARY KEY (mapping, key)
);
CREATE INDEX IF NOT EXISTS row_version_deleted_at ON sink.row_version (deleted_at);
ALTER TABLE sink.row_version
  ALTER COLUMN position DROP NOT NULL,
  ADD COLUMN IF NOT EXISTS ordinal bigint NOT NULL DEFAULT 0, -- the change's number in its transaction
  ADD COLUMN IF NOT EXISTS version text, -- of a deleted row; orders events that have no position
  ADD COLUMN IF NOT EXISTS owner text; -- hash of the source row's key, where a key may pass to another row

-- What these hashes are made with: one row, encrypted with the key of the dead letters.
CREATE TABLE IF NOT EXISTS sink.key_secret (
  one    bool  PRIMARY KEY DEFAULT true CHECK (one),
  sealed bytea NOT NULL,
  key_id text  NOT NULL
);

-- How many rows broke a rule of their mapping, or were given a default, each day.  Written in
-- the transaction of the rows, so that a batch that is tried again counts once.
CREATE TABLE IF NOT EXISTS sink.quality_count (
  mapping     text   NOT NULL,
  rule        text   NOT NULL,
  column_name text   NOT NULL,       -- '' where the rule is about the whole row
  day         date   NOT NULL,       -- UTC
  rows        bigint NOT NULL,
  PRIMARY KEY (mapping, rule, column_name, day)
);

-- Which cluster the log positions of each mapping are of, and how far its log was seen to be: those
-- of another one can't be compared with them.
CREATE TABLE IF NOT EXISTS sink.source_cluster (
  mapping           text        PRIMARY KEY,
  system_identifier text        NOT NULL,
  timeline          bigint      NOT NULL,
  position          bigint      NOT NULL,               -- of the end of the log
  positions         jsonb       NOT NULL DEFAULT '{}',  -- of the last event, by partition
  seen_at           timestamptz NOT NULL DEFAULT now()
);

-- The target rows that came by a callback of the API and are not in the source table: a full batch
-- leaves them.
CREATE TABLE IF NOT EXISTS sink.callback_row (
  mapping text NOT NULL,
  key     text NOT NULL,   -- hash of the key's columns
  PRIMARY KEY (mapping, key)
);

-- Where the log truncated a mapping's source table last, if the target follows: what is older and
-- comes from another partition is stale.
CREATE TABLE IF NOT EXISTS sink.truncation (
  mapping  text   PRIMARY KEY,
  position bigint NOT NULL,
  ordinal  bigint NOT NULL
);

-- What the runs of the batch form have done and how far they came; see `sink-runner batch`.
CREATE TABLE IF NOT EXISTS sink.batch_run (
  run             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  mapping         text        NOT NULL,
  target          text        NOT NULL,
  mode            text        NOT NULL,                   -- full, changed, or a range of time
  started         timestamptz NOT NULL DEFAULT now(),
  progressed      timestamptz NOT NULL DEFAULT now(),
  finished        timestamptz,
  outcome         text        NOT NULL DEFAULT 'running'
    CHECK (outcome IN ('running', 'done', 'interrupted', 'abandoned')),
  columns         bigint      NOT NULL,                   -- tells the columns read from others
  cluster         text        NOT NULL,                   -- the source's system identifier/timeline
  seen_before     bigint      NOT NULL,                   -- transactions before it were seen whole
  snapshot_at     timestamp   NOT NULL,                   -- UTC; the first, if the run was resumed
  position        bigint      NOT NULL,                   -- in the source's log, of its rows
  sample_position bigint      NOT NULL,
  sample_before   bigint      NOT NULL,
  last_key        text[],
  counts          jsonb       NOT NULL DEFAULT '{}',
  checks          jsonb       NOT NULL DEFAULT '{}'
);
CREATE INDEX IF NOT EXISTS batch_run_mapping ON sink.batch_run (mapping, run);

-- The target keys that the full runs of a mapping have brought, where the target has rows of
-- others, too: only these are the mapping's to retire.
CREATE TABLE IF NOT EXISTS sink.batch_key (
  mapping text NOT NULL,
  key     text NOT NULL,             -- JSON array of the key's columns
  PRIMARY KEY (mapping, key)
);

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

-- How far each schedule of the mappings that write to this database has come, and its last run.
CREATE TABLE IF NOT EXISTS sink.schedule (
  mapping    text        NOT NULL,
  mode       text        NOT NULL,
  cron       text        NOT NULL,
  done_until timestamptz NOT NULL,  -- every time that is not later has been dealt with
  due        timestamptz,
  failures   int         NOT NULL DEFAULT 0,
  started_at timestamptz,
  ended_at   timestamptz,
  outcome    text,
  PRIMARY KEY (mapping, mode, cron)
);

-- Answers to requests that carried an Idempotency-Key: keyed hashes, nothing of what was sent.
CREATE TABLE IF NOT EXISTS sink.api_request (
  request    bytea       PRIMARY KEY,  -- of caller, operation and key
  content    bytea       NOT NULL,     -- of the body
  places     jsonb,                    -- [[partition, offset], ...]; NULL: not answered yet
  claimed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS api_request_claimed_at ON sink.api_request (claimed_at);

-- Each mapping with candidates has a table of its own; older ones lack the ordinal and take no row
-- without a position.
DO $$
DECLARE
  old regclass;
BEGIN
  FOR old IN
    SELECT oid FROM pg_catalog.pg_class
    WHERE relnamespace = 'sink'::regnamespace AND relkind = 'r' AND relname LIKE 'candidates\_%'
  LOOP
    EXECUTE format('ALTER TABLE %s ALTER COLUMN _position DROP NOT NULL, '
                   'ADD COLUMN IF NOT EXISTS _ordinal bigint NOT NULL DEFAULT 0', old);
  END LOOP;
END $$;

DO $$
DECLARE
  strange text;
BEGIN
  WITH known (name, columns) AS (VALUES
    ('partition_offset', 'mapping cluster_id topic topic_id partition next_offset epoch owner '
                         'updated_at leader_epoch'),
    ('row_version', 'mapping key position deleted_at ordinal version owner'),
    ('key_secret', 'one sealed key_id'),
    ('quality_count', 'mapping rule column_name day rows'),
    ('source_cluster', 'mapping system_identifier timeline position positions seen_at'),
    ('callback_row', 'mapping key'),
    ('truncation', 'mapping position ordinal'),
    ('batch_run', 'run mapping target mode started progressed finished outcome columns cluster '
                  'seen_before snapshot_at position sample_position sample_before last_key counts '
                  'checks'),
    ('batch_key', 'mapping key'),
    ('schema_contract', 'mapping columns key missing accepted updated_at'),
    ('schedule', 'mapping mode cron done_until due failures started_at ended_at outcome'),
    ('api_request', 'request content places claimed_at')
  ), expected AS (
    SELECT name, unnest(string_to_array(columns, ' ')) AS attribute FROM known
  ), present AS (
    SELECT c.relname AS name, a.attname AS attribute
    FROM known k JOIN pg_catalog.pg_class c ON c.relname = k.name
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = 'sink'::regnamespace
  )
  SELECT string_agg(format('sink.%s.%s', name, attribute), ', ' ORDER BY name, attribute)
  INTO strange
  FROM expected FULL JOIN present USING (name, attribute)
  WHERE expected IS NULL OR present IS NULL;
  IF strange IS NOT NULL THEN
    RAISE EXCEPTION 'columns that are missing or that no version had: %', strange
      USING ERRCODE = 'undefined_column';
  END IF;
END $$;
