-- Roles of the pipeline, once per cluster. The caller sets their passwords; this file stores none.
DO $$
DECLARE
  wanted text;
BEGIN
  FOREACH wanted IN ARRAY ARRAY['sink_capture', 'sink_writer', 'sink_reader'] LOOP
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
      EXECUTE pg_catalog.format('CREATE ROLE %I', wanted);
    END IF;
  END LOOP;
END
$$;

-- ALTER as well as CREATE: an existing role gets these attributes again.
ALTER ROLE sink_capture LOGIN REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT;
ALTER ROLE sink_writer LOGIN NOREPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT;
ALTER ROLE sink_reader LOGIN NOREPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT;

-- A write by the reader would be a bug, so its sessions are read-only, in addition to the grants.
ALTER ROLE sink_reader SET default_transaction_read_only = on;
