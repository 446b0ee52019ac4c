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
  status VARCHAR(20) NOT NULL DEFAULT 'OPEN'
  CHECK (status IN ('OPEN', 'PARKED', 'REPLAYED', 'DISCARDED', 'SUPERSEDED')),
  created_at TIMESTAMPTZ DEFAULT now(),
  published_attempts INTEGER -- the attempts that its Kafka topic was told of last
);
-- What the topics of the dead letters have not been told yet.
CREATE INDEX sync_dlq_unpublished ON public.sync_dlq (dlq_id)
WHERE error_class <> 'WaitingError'
AND (published_attempts IS NULL OR (status IN ('OPEN', 'SUPERSEDED') AND published_attempts < attempts));
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
