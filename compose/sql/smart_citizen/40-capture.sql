-- The tables of the change capture, as a list, never FOR ALL TABLES.
CREATE SCHEMA cdc;
-- The slot of an idle database would retain the WAL of the whole cluster. A write to this table advances it.
CREATE TABLE cdc.heartbeat (
  id INT PRIMARY KEY,
  at TIMESTAMPTZ NOT NULL
);
-- A row in this table requests an incremental snapshot; see debezium-config/README.md.
CREATE TABLE cdc.debezium_signal (
  id VARCHAR(64) PRIMARY KEY,
  type VARCHAR(32) NOT NULL,
  data VARCHAR(2048)
);

-- A change of a partition is published under its root, which has a topic and a mapping.
CREATE PUBLICATION sink_publication FOR TABLE
public.citizens,
public.service_applications,
public.documents,
public.feedback,
public.user_behavior_events,
cdc.heartbeat,
cdc.debezium_signal
WITH (publish_via_partition_root = true);

-- Flow 8 matches by aadhaar_number, writes only the columns that changed, and filters a deleted row by its previous status.
ALTER TABLE public.citizens REPLICA IDENTITY FULL;
-- Flow 9 writes a row only when the status has changed.
ALTER TABLE public.service_applications REPLICA IDENTITY FULL;
-- Flow 11 is keyed by citizen, type and day. The table is append-only, so the before image costs nothing unless a row is deleted.
ALTER TABLE public.user_behavior_events REPLICA IDENTITY FULL;
-- Flow 12 maps message, which can be TOASTed.
ALTER TABLE public.feedback REPLICA IDENTITY FULL;
-- public.documents keeps the default: flow 10 has the same key, its mapped columns are short, and the before
-- image would only add file_path, file_hash and verification_notes, which must not leave the portal.
