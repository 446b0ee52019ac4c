-- What was done to the targets, by whom and by which policies; never a row's value.  Versions
-- without migrations had it in public.cdc_audit_log; its old rows keep the databases' short names.
DO $$
BEGIN
  IF (SELECT relkind FROM pg_catalog.pg_class
      WHERE oid = to_regclass('public.cdc_audit_log')) = 'r' THEN
    ALTER TABLE public.cdc_audit_log SET SCHEMA sink;
  END IF;
  IF to_regclass('sink.cdc_audit_log') IS NOT NULL THEN
    ALTER TABLE sink.cdc_audit_log
      ALTER COLUMN event_type TYPE text,
      ALTER COLUMN source_system TYPE text,
      ALTER COLUMN target_system TYPE text,
      ALTER COLUMN table_name TYPE text,
      ALTER COLUMN operation TYPE text,
      ALTER COLUMN user_id TYPE text,
      DROP CONSTRAINT IF EXISTS cdc_audit_log_event_type_check,
      DROP CONSTRAINT IF EXISTS cdc_audit_log_operation_check;
    ALTER TABLE sink.cdc_audit_log RENAME COLUMN source_system TO source_database;
    ALTER TABLE sink.cdc_audit_log RENAME COLUMN target_system TO target_database;
    ALTER SEQUENCE sink.cdc_audit_log_audit_id_seq RENAME TO audit_log_audit_id_seq;
    ALTER INDEX sink.cdc_audit_log_pkey RENAME TO audit_log_pkey;
    ALTER INDEX IF EXISTS sink.cdc_audit_log_timestamp_idx RENAME TO audit_log_timestamp_idx;
    ALTER TABLE sink.cdc_audit_log RENAME TO audit_log;
  END IF;
END $$;

CREATE TABLE IF NOT EXISTS sink.audit_log (
  audit_id        bigserial PRIMARY KEY,
  event_type      text,
  source_database text,
  target_database text,
  table_name      text,
  record_id       text,
  operation       text,
  masked_fields   text[],
  "timestamp"     timestamp DEFAULT CURRENT_TIMESTAMP,
  user_id         text,
  details         jsonb
);
-- NOT VALID: a log of years is not read once more; its rows were checked when they were written.
ALTER TABLE sink.audit_log
  ADD CONSTRAINT audit_log_event_type_check
    CHECK (event_type IN ('sync', 'conflict', 'error', 'mask')) NOT VALID,
  ADD CONSTRAINT audit_log_operation_check
    CHECK (operation IN ('INSERT', 'UPDATE', 'DELETE')) NOT VALID;
-- Rows come in the order of their time, a few for each batch.
CREATE INDEX IF NOT EXISTS audit_log_timestamp_idx ON sink.audit_log USING brin ("timestamp");
-- What was audited stays as it was written, as far as the runner's own statements go.
REVOKE UPDATE, DELETE, TRUNCATE ON sink.audit_log FROM CURRENT_USER;
