-- Views of the runner's tables under the names of the specification, read-only except for the resolution of a
-- conflict. sink-runner creates its tables in schema sink when it starts. Each view reads them through a function,
-- which PostgreSQL inlines, so the views may be created before the tables and do not block their migrations. May
-- be run again.
SET check_function_bodies = off;

-- Tables that sink-runner no longer uses: the watermarks are in sink.batch_run, and the other was always empty.
DO $$
DECLARE
  old regclass;
BEGIN
  FOR old IN
    SELECT oid FROM pg_catalog.pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
      AND relname IN ('sync_watermark', 'sync_processed_event')
  LOOP
    EXECUTE pg_catalog.format('DROP TABLE %s', old);
  END LOOP;
END
$$;

-- The name of a database in the specification.
CREATE OR REPLACE FUNCTION public.system_of(database TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE database WHEN 'smart_warehouse' THEN 'warehouse' WHEN 'smart_citizen' THEN 'citizen' ELSE database END
$$;

CREATE OR REPLACE FUNCTION public.cdc_conflict_resolution() RETURNS TABLE (
  conflict_id BIGINT, table_name TEXT, record_id TEXT, source_system TEXT, conflict_type TEXT, warehouse_value JSONB,
  citizen_value JSONB, detected_at TIMESTAMP, resolved_by TEXT, resolved_at TIMESTAMP, resolution_action TEXT,
  resolution_notes TEXT
) LANGUAGE sql STABLE AS $$
  SELECT conflict_id, table_name, record_id, public.system_of(source_database), conflict_type,
    CASE public.system_of(source_database) WHEN 'warehouse' THEN source_value ELSE target_value END,
    CASE public.system_of(source_database) WHEN 'warehouse' THEN target_value ELSE source_value END,
    detected_at, resolved_by, resolved_at,
    CASE resolution_action
      WHEN 'source_wins' THEN public.system_of(source_database) || '_wins'
      WHEN 'target_wins' THEN public.system_of(target_database) || '_wins'
      ELSE resolution_action
    END,
    resolution_notes
  FROM sink.conflict
$$;
CREATE OR REPLACE VIEW public.cdc_conflict_resolution AS SELECT * FROM public.cdc_conflict_resolution();

-- A conflict can be resolved through the view, too; its other columns do not change.
CREATE OR REPLACE FUNCTION public.resolve_conflict() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE sink.conflict SET
    resolved_by = NEW.resolved_by,
    resolved_at = NEW.resolved_at,
    resolution_notes = NEW.resolution_notes,
    resolution_action = CASE NEW.resolution_action
      WHEN public.system_of(source_database) || '_wins' THEN 'source_wins'
      WHEN public.system_of(target_database) || '_wins' THEN 'target_wins'
      ELSE NEW.resolution_action
    END
  WHERE conflict_id = OLD.conflict_id;
  RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER resolve_conflict INSTEAD OF UPDATE ON public.cdc_conflict_resolution
FOR EACH ROW EXECUTE FUNCTION public.resolve_conflict();

CREATE OR REPLACE FUNCTION public.cdc_audit_log() RETURNS TABLE (
  audit_id BIGINT, event_type TEXT, source_system TEXT, target_system TEXT, table_name TEXT, record_id TEXT,
  operation TEXT, masked_fields TEXT [], "timestamp" TIMESTAMP, user_id TEXT, details JSONB
) LANGUAGE sql STABLE AS $$
  SELECT audit_id, event_type, public.system_of(source_database), public.system_of(target_database), table_name,
    record_id, operation, masked_fields, "timestamp", user_id, details
  FROM sink.audit_log
$$;
CREATE OR REPLACE VIEW public.cdc_audit_log AS SELECT * FROM public.cdc_audit_log();

CREATE OR REPLACE FUNCTION public.sync_dlq() RETURNS TABLE (
  dlq_id BIGINT, flow TEXT, topic TEXT, "partition" INTEGER, "offset" BIGINT, event_key_hash BYTEA, error_class TEXT,
  sqlstate BPCHAR, error_message TEXT, stack_trace TEXT, source_data BYTEA, key_id TEXT, plugin_version TEXT,
  attempts INTEGER, status TEXT, created_at TIMESTAMPTZ
) LANGUAGE sql STABLE AS $$
  SELECT dlq_id, flow, topic, "partition", "offset", event_key_hash, error_class, sqlstate, error_message, stack_trace,
    source_data, key_id, plugin_version, attempts, status, created_at
  FROM sink.dead_letter
$$;
CREATE OR REPLACE VIEW public.sync_dlq AS SELECT * FROM public.sync_dlq();

-- The time up to which the target has all rows of the source.
CREATE OR REPLACE FUNCTION public.sync_watermark() RETURNS TABLE (flow TEXT, last_synced_at TIMESTAMP)
LANGUAGE sql STABLE AS $$
  SELECT DISTINCT ON (mapping) mapping, snapshot_at FROM sink.batch_run
  WHERE outcome = 'done' AND mode IN ('full', 'changed') ORDER BY mapping, run DESC
$$;
CREATE OR REPLACE VIEW public.sync_watermark AS SELECT * FROM public.sync_watermark();

-- The last event of each partition. All events before it were processed as well.
CREATE OR REPLACE FUNCTION public.sync_processed_event() RETURNS TABLE (
  flow TEXT, event_id TEXT, processed_at TIMESTAMP
) LANGUAGE sql STABLE AS $$
  SELECT mapping, concat_ws('/', topic, "partition", next_offset - 1), updated_at AT TIME ZONE 'UTC'
  FROM sink.partition_offset WHERE next_offset > 0
$$;
CREATE OR REPLACE VIEW public.sync_processed_event AS SELECT * FROM public.sync_processed_event();

REVOKE EXECUTE ON FUNCTION public.system_of(TEXT), public.cdc_conflict_resolution(), public.resolve_conflict(),
public.cdc_audit_log(), public.sync_dlq(), public.sync_watermark(), public.sync_processed_event() FROM PUBLIC;
RESET check_function_bodies;
