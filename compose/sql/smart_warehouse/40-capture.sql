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
public.golden_records,
public.profile_360,
public.scheme_master,
eligibility.eligibility_snapshots,
forecast.benefit_forecasts,
decision.applications,
alerts.ml_alert_outbox,
cdc.heartbeat,
cdc.debezium_signal
WITH (publish_via_partition_root = true);

-- Flow 2 skips a change of unmapped columns only if the row qualified before, which depends on its previous status.
ALTER TABLE public.golden_records REPLICA IDENTITY FULL;
-- Flow 3 is keyed by family, not by this table's key: a deletion, and a move to another family, need the previous family.
-- An index cannot stand in for FULL, because family_id is NULL on heads.
ALTER TABLE public.profile_360 REPLICA IDENTITY FULL;
-- Flow 1 is keyed by scheme_code, and its three JSON columns can be TOASTed.
ALTER TABLE public.scheme_master REPLICA IDENTITY FULL;
-- Flow 4 ranks within a family: only the before image of a deleted snapshot has its family.
ALTER TABLE eligibility.eligibility_snapshots REPLICA IDENTITY FULL;
-- Flow 5 maps projections, which can be TOASTed and is NOT NULL in the portal.
ALTER TABLE forecast.benefit_forecasts REPLICA IDENTITY FULL;
-- Flow 6 finds its row by application_number too, maps reasons (TOASTable), and skips changes of unmapped columns.
ALTER TABLE decision.applications REPLICA IDENTITY FULL;
-- alerts.ml_alert_outbox keeps the default: flow 7 inserts once, under the same key.
