-- Dead letters and deferred events.  Versions without migrations had them in public.sync_dlq.
-- source_data is encrypted, and neither text holds a row's value.
DO $$
BEGIN
  IF (SELECT relkind FROM pg_catalog.pg_class WHERE oid = to_regclass('public.sync_dlq')) = 'r' THEN
    ALTER TABLE public.sync_dlq SET SCHEMA sink;
  END IF;
  IF to_regclass('sink.sync_dlq') IS NOT NULL THEN
    DROP INDEX IF EXISTS sink.sync_dlq_unpublished, sink.sync_dlq_held, sink.sync_dlq_open;
    ALTER TABLE sink.sync_dlq
      DROP CONSTRAINT IF EXISTS sync_dlq_status_check,
      ADD COLUMN IF NOT EXISTS published_attempts integer,
      ALTER COLUMN flow TYPE text,
      ALTER COLUMN status TYPE text,
      ALTER COLUMN status SET DEFAULT 'OPEN';
    ALTER SEQUENCE sink.sync_dlq_dlq_id_seq RENAME TO dead_letter_dlq_id_seq;
    ALTER INDEX sink.sync_dlq_pkey RENAME TO dead_letter_pkey;
    ALTER TABLE sink.sync_dlq RENAME TO dead_letter;
  END IF;
END $$;

CREATE TABLE IF NOT EXISTS sink.dead_letter (
  dlq_id             bigserial   PRIMARY KEY,
  flow               text        NOT NULL,           -- the mapping
  topic              text,
  partition          integer,
  "offset"           bigint,
  event_key_hash     bytea,
  error_class        text        NOT NULL,
  sqlstate           char(5),
  error_message      text        NOT NULL,
  stack_trace        text        NOT NULL,
  source_data        bytea       NOT NULL,
  key_id             text        NOT NULL,
  plugin_version     text        NOT NULL,
  attempts           integer     NOT NULL DEFAULT 0,
  status             text        NOT NULL DEFAULT 'OPEN',
  created_at         timestamptz DEFAULT now(),
  published_attempts integer                         -- that its Kafka topic was told of last
);
ALTER TABLE sink.dead_letter ADD CONSTRAINT dead_letter_status_check
  CHECK (status IN ('OPEN', 'PARKED', 'REPLAYED', 'DISCARDED', 'SUPERSEDED'));
-- What the topics of the dead letters have not been told yet.
CREATE INDEX dead_letter_unpublished ON sink.dead_letter (dlq_id)
WHERE error_class <> 'WaitingError'
  AND (published_attempts IS NULL
       OR (status IN ('OPEN', 'SUPERSEDED') AND published_attempts < attempts));
-- What holds up the later events of its key, by partition and key; a batch's row is of no partition
-- and may have no key.
CREATE INDEX dead_letter_held ON sink.dead_letter (
  flow,
  coalesce(partition, -1),
  coalesce(event_key_hash, CASE WHEN partition IS NULL THEN int8send(dlq_id) ELSE ''::bytea END),
  dlq_id
) INCLUDE (status, partition) WHERE status IN ('OPEN', 'PARKED');
-- What a person decides on, to be listed and to be counted against the failure budget.
CREATE INDEX dead_letter_open ON sink.dead_letter (flow, dlq_id) INCLUDE (partition)
WHERE status = 'OPEN';
