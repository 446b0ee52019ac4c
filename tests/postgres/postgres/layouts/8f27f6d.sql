-- The tables of sink-runner at 8f27f6d: those that compose/sql made, by a superuser, with their grants,
-- and those that the runner made.
-- Control tables of the sync, the same in both databases. record_id is TEXT: keys are UUIDs and integers.
CREATE TABLE public.cdc_conflict_resolution (
  conflict_id BIGSERIAL PRIMARY KEY,
  table_name VARCHAR(100) NOT NULL,
  record_id TEXT NOT NULL,
  source_system VARCHAR(50) NOT NULL CHECK (source_system IN ('warehouse', 'citizen')),
  conflict_type VARCHAR(50) NOT NULL
  CHECK (conflict_type IN ('timestamp_conflict', 'data_conflict', 'deletion_conflict')),
  warehouse_value JSONB,
  citizen_value JSONB,
  detected_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  resolved_by VARCHAR(100),
  resolved_at TIMESTAMP,
  resolution_action VARCHAR(50)
  CHECK (resolution_action IN ('warehouse_wins', 'citizen_wins', 'manual_review', 'merged')),
  resolution_notes TEXT
);
CREATE INDEX ON public.cdc_conflict_resolution (resolved_at) WHERE resolved_at IS NULL;
-- Is this conflict open already? Asked for each that is found.
CREATE INDEX ON public.cdc_conflict_resolution (table_name, record_id) WHERE resolved_at IS NULL;

CREATE TABLE public.cdc_audit_log (
  audit_id BIGSERIAL PRIMARY KEY,
  event_type VARCHAR(50) CHECK (event_type IN ('sync', 'conflict', 'error', 'mask')),
  source_system VARCHAR(50),
  target_system VARCHAR(50),
  table_name VARCHAR(100),
  record_id TEXT,
  operation VARCHAR(10) CHECK (operation IN ('INSERT', 'UPDATE', 'DELETE')),
  masked_fields TEXT [],
  "timestamp" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  user_id VARCHAR(100),
  details JSONB
);
-- Rows come in the order of their time, a few for each batch; the owner purges by it, nobody else may.
CREATE INDEX ON public.cdc_audit_log USING brin ("timestamp");

CREATE TABLE public.sync_processed_event (
  flow VARCHAR(50),
  event_id TEXT,
  processed_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (flow, event_id)
);

CREATE TABLE public.sync_watermark (
  flow VARCHAR(50) PRIMARY KEY,
  last_synced_at TIMESTAMP NOT NULL
);

-- source_data is ciphertext, and neither text holds a row's value.
CREATE TABLE public.sync_dlq (
  dlq_id BIGSERIAL PRIMARY KEY,
  flow VARCHAR(50) NOT NULL,
  topic TEXT,
  partition INTEGER,
  "offset" BIGINT,
  event_key_hash BYTEA,
  error_class TEXT NOT NULL,
  sqlstate CHAR(5),
  error_message TEXT NOT NULL,
  stack_trace TEXT NOT NULL,
  source_data BYTEA NOT NULL,
  key_id TEXT NOT NULL,
  plugin_version TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  status VARCHAR(20) NOT NULL DEFAULT 'OPEN' CHECK (status IN ('OPEN', 'PARKED', 'REPLAYED', 'DISCARDED')),
  created_at TIMESTAMPTZ DEFAULT now(),
  published_attempts INTEGER -- the attempts that its Kafka topic was told of last
);
-- What the topics of the dead letters have not been told yet.
CREATE INDEX sync_dlq_unpublished ON public.sync_dlq (dlq_id)
WHERE error_class <> 'WaitingError'
AND (published_attempts IS NULL OR (status = 'OPEN' AND published_attempts < attempts));
-- What holds up the later events of its key, by partition and key; a batch's row is of no partition
-- and may have no key.
CREATE INDEX sync_dlq_held ON public.sync_dlq (
  flow,
  coalesce(partition, -1),
  coalesce(event_key_hash, CASE WHEN partition IS NULL THEN int8send(dlq_id) ELSE ''::bytea END),
  dlq_id
) INCLUDE (status, partition) WHERE status IN ('OPEN', 'PARKED');
-- What a person decides on, to be listed and to be counted against the failure budget.
CREATE INDEX sync_dlq_open ON public.sync_dlq (flow, dlq_id) INCLUDE (partition) WHERE status = 'OPEN';
-- The control tables, for the writer. What was audited stays as it was written.
GRANT SELECT, INSERT ON public.cdc_audit_log TO sink_writer;
GRANT SELECT, INSERT, UPDATE (resolved_by, resolved_at, resolution_action, resolution_notes)
ON public.cdc_conflict_resolution TO sink_writer;
GRANT SELECT, INSERT, DELETE, UPDATE (processed_at) ON public.sync_processed_event TO sink_writer;
GRANT SELECT, INSERT, DELETE, UPDATE (last_synced_at) ON public.sync_watermark TO sink_writer;
GRANT SELECT, INSERT, DELETE,
UPDATE (attempts, status, error_class, sqlstate, error_message, stack_trace, published_attempts)
ON public.sync_dlq TO sink_writer;
-- For another key: what is sealed, by which, and the fingerprint that goes with it.
GRANT UPDATE (source_data, key_id, event_key_hash) ON public.sync_dlq TO sink_writer;
GRANT USAGE ON SEQUENCE public.cdc_audit_log_audit_id_seq,
public.cdc_conflict_resolution_conflict_id_seq, public.sync_dlq_dlq_id_seq TO sink_writer;

SET ROLE sink_writer;
-- The runner's own tables, in a schema that its role owns in every target database.

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

-- What the target tables have no column for: the log position of rows that were deleted, so
-- that an older event can't bring them back; and of the rows of mappings whose source always
-- wins, so that an older row of a batch can't win over an event, nor an older event over it.
CREATE TABLE IF NOT EXISTS sink.row_version (
  mapping    text        NOT NULL,
  key        text        NOT NULL,   -- hash of the key's columns
  position   bigint      NOT NULL,
  deleted_at timestamptz,            -- NULL: the row is there
  PRIMARY KEY (mapping, key)
);
CREATE INDEX IF NOT EXISTS row_version_deleted_at ON sink.row_version (deleted_at);

-- What these hashes are made with: one row, sealed with the key of the dead letters.
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
RESET ROLE;
