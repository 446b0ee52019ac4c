-- What `sink-runner reconcile` compared and found, and until when each mapping is verified.

CREATE TABLE sink.reconcile_run (
  run         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  mapping     text        NOT NULL,
  mode        text        NOT NULL,             -- full, changed, since a time, or a sample
  started     timestamptz NOT NULL DEFAULT now(),
  progressed  timestamptz NOT NULL DEFAULT now(),
  finished    timestamptz,
  outcome     text        NOT NULL DEFAULT 'running' CHECK (outcome IN
    ('running', 'equal', 'different', 'undecided', 'interrupted', 'abandoned')),
  columns     bigint      NOT NULL,             -- a checksum of the columns read
  cluster     text        NOT NULL,             -- the source's system identifier and timeline
  seen_before bigint      NOT NULL,             -- transactions before it were seen whole
  snapshot_at timestamptz NOT NULL,             -- when its first part began, by the source's clock
  phase       text        NOT NULL DEFAULT 'source' CHECK (phase IN ('source', 'target')),
  last_key    text[],                           -- encrypted where the key is personal
  counts      jsonb       NOT NULL DEFAULT '{}',
  columns_differing jsonb NOT NULL DEFAULT '{}', -- rows by the name of the target's column
  notes       text[]      NOT NULL DEFAULT '{}'
);
CREATE INDEX reconcile_run_mapping ON sink.reconcile_run (mapping, run);

-- The first rows that each run found, by the keyed hash that dead letters have of their keys.
CREATE TABLE sink.reconcile_finding (
  run        bigint      NOT NULL REFERENCES sink.reconcile_run ON DELETE CASCADE,
  kind       text        NOT NULL,
  key_hash   bytea       NOT NULL,
  columns    text[]      NOT NULL DEFAULT '{}', -- names of those that differ
  repaired   boolean     NOT NULL DEFAULT false,
  found_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX reconcile_finding_run ON sink.reconcile_finding (run);
CREATE INDEX reconcile_finding_key ON sink.reconcile_finding (key_hash);

-- All changes of the source before this time are in the target, as of the run that last said so.
CREATE TABLE sink.reconcile_state (
  mapping          text        PRIMARY KEY,
  verified_through timestamptz NOT NULL,
  run              bigint      NOT NULL,
  columns          bigint      NOT NULL,
  cluster          text        NOT NULL,
  seen_before      bigint      NOT NULL
);
