-- Rows that both sides changed.  Versions without migrations had them in
-- public.cdc_conflict_resolution, in columns named after the two databases that they knew.
DO $$
BEGIN
  IF (SELECT relkind FROM pg_catalog.pg_class
      WHERE oid = to_regclass('public.cdc_conflict_resolution')) = 'r' THEN
    ALTER TABLE public.cdc_conflict_resolution SET SCHEMA sink;
  END IF;
  IF to_regclass('sink.cdc_conflict_resolution') IS NOT NULL THEN
    ALTER TABLE sink.cdc_conflict_resolution
      DROP CONSTRAINT IF EXISTS cdc_conflict_resolution_source_system_check,
      DROP CONSTRAINT IF EXISTS cdc_conflict_resolution_conflict_type_check,
      DROP CONSTRAINT IF EXISTS cdc_conflict_resolution_resolution_action_check,
      ALTER COLUMN table_name TYPE text,
      ALTER COLUMN source_system TYPE text,
      ALTER COLUMN conflict_type TYPE text,
      ALTER COLUMN resolved_by TYPE text,
      ALTER COLUMN resolution_action TYPE text,
      ADD COLUMN target_database text;
    ALTER TABLE sink.cdc_conflict_resolution RENAME COLUMN source_system TO source_database;
    ALTER TABLE sink.cdc_conflict_resolution RENAME COLUMN warehouse_value TO source_value;
    ALTER TABLE sink.cdc_conflict_resolution RENAME COLUMN citizen_value TO target_value;
    UPDATE sink.cdc_conflict_resolution SET
      target_database = CASE source_database WHEN 'warehouse' THEN 'citizen' ELSE 'warehouse' END,
      source_value = CASE source_database WHEN 'warehouse' THEN source_value ELSE target_value END,
      target_value = CASE source_database WHEN 'warehouse' THEN target_value ELSE source_value END,
      resolution_action = CASE
        WHEN resolution_action = source_database || '_wins' THEN 'source_wins'
        WHEN resolution_action LIKE '%\_wins' THEN 'target_wins'
        ELSE resolution_action END;
    ALTER TABLE sink.cdc_conflict_resolution ALTER COLUMN target_database SET NOT NULL;
    ALTER SEQUENCE sink.cdc_conflict_resolution_conflict_id_seq
      RENAME TO conflict_conflict_id_seq;
    ALTER INDEX sink.cdc_conflict_resolution_pkey RENAME TO conflict_pkey;
    DROP INDEX IF EXISTS sink.cdc_conflict_resolution_resolved_at_idx,
      sink.cdc_conflict_resolution_table_name_record_id_idx;
    ALTER TABLE sink.cdc_conflict_resolution RENAME TO conflict;
  END IF;
END $$;

CREATE TABLE IF NOT EXISTS sink.conflict (
  conflict_id       bigserial PRIMARY KEY,
  table_name        text      NOT NULL,
  record_id         text      NOT NULL,
  source_database   text      NOT NULL,
  conflict_type     text      NOT NULL,
  source_value      jsonb,
  target_value      jsonb,
  detected_at       timestamp DEFAULT CURRENT_TIMESTAMP,
  resolved_by       text,
  resolved_at       timestamp,
  resolution_action text,
  resolution_notes  text,
  target_database   text      NOT NULL
);
ALTER TABLE sink.conflict
  ADD CONSTRAINT conflict_conflict_type_check
    CHECK (conflict_type IN ('timestamp_conflict', 'data_conflict', 'deletion_conflict')),
  ADD CONSTRAINT conflict_resolution_action_check
    CHECK (resolution_action IN ('source_wins', 'target_wins', 'manual_review', 'merged'));
CREATE INDEX conflict_open_idx ON sink.conflict (resolved_at) WHERE resolved_at IS NULL;
-- Is this conflict open already?  The runner looks for each that it finds.
CREATE INDEX conflict_open_record_idx ON sink.conflict (table_name, record_id)
WHERE resolved_at IS NULL;
-- What a conflict was stays; how it was resolved can be written.
REVOKE UPDATE, DELETE, TRUNCATE ON sink.conflict FROM CURRENT_USER;
GRANT UPDATE (resolved_by, resolved_at, resolution_action, resolution_notes)
ON sink.conflict TO CURRENT_USER;
