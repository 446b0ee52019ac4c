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
-- ALTER TABLE locks the table even where it changes nothing, so the catalog is asked first.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_attribute
                 WHERE attrelid = 'sink.partition_offset'::regclass AND attname = 'leader_epoch')
  THEN
    ALTER TABLE sink.partition_offset
      ADD COLUMN leader_epoch int NOT NULL DEFAULT -1; -- Kafka's, of the last record; -1: unknown
  END IF;
END $$;

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
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_attribute
                 WHERE attrelid = 'sink.row_version'::regclass AND attname = 'ordinal') THEN
    ALTER TABLE sink.row_version
      ALTER COLUMN position DROP NOT NULL, -- NULL: the last change had no place in the log
      ADD COLUMN ordinal bigint NOT NULL DEFAULT 0, -- the change's number in its transaction
      ADD COLUMN version text; -- of a deleted row; orders events that have no position
  END IF;
  IF NOT EXISTS (SELECT FROM pg_attribute
                 WHERE attrelid = 'sink.row_version'::regclass AND attname = 'owner') THEN
    ALTER TABLE sink.row_version
      ADD COLUMN owner text; -- hash of the source row's key, where a key may pass to another row
  END IF;
END $$;

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
