-- What the change capture sees: a list of tables, never "all tables".
CREATE SCHEMA cdc;
-- An idle database writes no WAL, so its slot would hold the log of the whole cluster. A row here moves it on.
CREATE TABLE cdc.heartbeat (
  id INT PRIMARY KEY,
  at TIMESTAMPTZ NOT NULL
);
-- A row here asks Debezium for an incremental snapshot of a table; see debezium-config/README.md.
CREATE TABLE cdc.debezium_signal (
  id VARCHAR(64) PRIMARY KEY,
  type VARCHAR(32) NOT NULL,
  data VARCHAR(2048)
);

-- A change of a partition is published as one of its root, whose topic and mapping there are.
CREATE PUBLICATION sink_publication FOR TABLE
public.citizens,
public.service_applications,
public.documents,
public.feedback,
public.user_behavior_events,
cdc.heartbeat,
cdc.debezium_signal
WITH (publish_via_partition_root = true);

-- Flow 8 matches by aadhaar_number, writes only the columns that changed, and judges a deleted row by its old status.
ALTER TABLE public.citizens REPLICA IDENTITY FULL;
-- Flow 9 makes an event only when the status changed.
ALTER TABLE public.service_applications REPLICA IDENTITY FULL;
-- Flow 11 is keyed by citizen, type and day. The table is append-only, so the old row costs nothing until one is deleted.
ALTER TABLE public.user_behavior_events REPLICA IDENTITY FULL;
-- Flow 12 maps message, which can be TOASTed.
ALTER TABLE public.feedback REPLICA IDENTITY FULL;
-- public.documents keeps the default: flow 10 has the same key, its mapped columns are short, and the old row would
-- only carry file_path, file_hash and verification_notes once more, which must not leave the portal.
