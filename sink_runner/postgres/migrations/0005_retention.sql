-- What is kept for how long: payloads of settled dead letters go at once, the audit log by month.

-- A settled letter is never applied again, so nothing needs its event.  A trigger, so that no
-- statement, and no older runner beside this one, can settle a letter and leave its payload.
ALTER TABLE sink.dead_letter
  ALTER COLUMN source_data DROP NOT NULL, -- NULL: settled
  ADD COLUMN settled_at timestamptz;
UPDATE sink.dead_letter SET source_data = NULL, settled_at = coalesce(created_at, now())
WHERE status NOT IN ('OPEN', 'PARKED');
ALTER TABLE sink.dead_letter ADD CONSTRAINT dead_letter_payload_check
  CHECK ((status IN ('OPEN', 'PARKED')) = (source_data IS NOT NULL));
CREATE INDEX dead_letter_settled ON sink.dead_letter (settled_at)
WHERE status NOT IN ('OPEN', 'PARKED');

CREATE FUNCTION sink.drop_settled_payload() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.source_data := NULL;
  NEW.settled_at := coalesce(NEW.settled_at, now());
  RETURN NEW;
END $$;
CREATE TRIGGER drop_settled_payload BEFORE INSERT OR UPDATE ON sink.dead_letter
FOR EACH ROW WHEN (NEW.status NOT IN ('OPEN', 'PARKED'))
EXECUTE FUNCTION sink.drop_settled_payload();

-- Beside the name that somebody gave (user_id): who the system and the database know.
ALTER TABLE sink.audit_log ADD COLUMN os_user text, ADD COLUMN database_user text;
ALTER TABLE sink.audit_log ALTER COLUMN database_user SET DEFAULT session_user;

-- The log so far becomes the partition of what no month has, from which its months are taken.
GRANT UPDATE ON sink.audit_log TO CURRENT_USER;
UPDATE sink.audit_log SET "timestamp" = 'epoch' WHERE "timestamp" IS NULL;
REVOKE UPDATE ON sink.audit_log FROM CURRENT_USER;
ALTER TABLE sink.audit_log
  ALTER COLUMN "timestamp" SET NOT NULL,
  DROP CONSTRAINT audit_log_pkey,
  DROP CONSTRAINT audit_log_event_type_check,
  DROP CONSTRAINT audit_log_operation_check;
ALTER INDEX sink.audit_log_timestamp_idx RENAME TO audit_log_default_timestamp_idx;
ALTER TABLE sink.audit_log RENAME TO audit_log_default;
CREATE TABLE sink.audit_log (
  LIKE sink.audit_log_default INCLUDING DEFAULTS,
  PRIMARY KEY (audit_id, "timestamp")
) PARTITION BY RANGE ("timestamp");
CREATE INDEX audit_log_timestamp_idx ON sink.audit_log USING brin ("timestamp");
ALTER SEQUENCE sink.audit_log_audit_id_seq OWNED BY sink.audit_log.audit_id;
ALTER TABLE sink.audit_log ATTACH PARTITION sink.audit_log_default DEFAULT;
ALTER TABLE sink.audit_log
  ADD CONSTRAINT audit_log_event_type_check
    CHECK (event_type IN ('sync', 'conflict', 'error', 'mask', 'erase')) NOT VALID,
  ADD CONSTRAINT audit_log_operation_check
    CHECK (operation IN ('INSERT', 'UPDATE', 'DELETE')) NOT VALID;
DO $$
DECLARE
  given record;
BEGIN
  FOR given IN
    SELECT a.privilege_type AS privilege,
      CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
    FROM pg_catalog.pg_class c, aclexplode(c.relacl) a
    WHERE c.oid = 'sink.audit_log_default'::regclass AND a.grantee <> c.relowner
  LOOP
    EXECUTE format('GRANT %s ON sink.audit_log TO %s', given.privilege, given.grantee);
  END LOOP;
END $$;
REVOKE UPDATE, DELETE, TRUNCATE ON sink.audit_log FROM CURRENT_USER;

-- Makes the partitions of this month, of the next two, and of whatever the default one holds.
-- Writers go on meanwhile.  For one caller at a time.
CREATE FUNCTION sink.add_audit_partitions() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  month timestamp;
  part text;
BEGIN
  GRANT DELETE ON sink.audit_log_default TO CURRENT_USER;
  FOR month IN
    SELECT date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead)
    FROM generate_series(0, 2) ahead
    UNION SELECT date_trunc('month', "timestamp") FROM sink.audit_log_default
  LOOP
    part := 'audit_log_' || to_char(month, 'YYYY_MM');
    CONTINUE WHEN to_regclass('sink.' || part) IS NOT NULL;
    EXECUTE format(
      'CREATE TABLE sink.%1$I (LIKE sink.audit_log INCLUDING DEFAULTS INCLUDING CONSTRAINTS);'
      'WITH moved AS (DELETE FROM sink.audit_log_default'
      '  WHERE "timestamp" >= %2$L AND "timestamp" < %3$L RETURNING *)'
      'INSERT INTO sink.%1$I SELECT * FROM moved;'
      'ALTER TABLE sink.audit_log ATTACH PARTITION sink.%1$I FOR VALUES FROM (%2$L) TO (%3$L);'
      'REVOKE UPDATE, DELETE, TRUNCATE ON sink.%1$I FROM CURRENT_USER',
      part, month, month + interval '1 month');
  END LOOP;
  REVOKE DELETE ON sink.audit_log_default FROM CURRENT_USER;
END $$;
SELECT sink.add_audit_partitions();
