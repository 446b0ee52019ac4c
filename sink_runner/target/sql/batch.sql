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
