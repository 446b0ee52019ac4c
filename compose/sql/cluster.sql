-- Roles of the pipeline, once per cluster. Passwords are set by whoever runs this: none is stored here.
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

-- ALTER and not only CREATE: a role that was there already is brought back to these attributes.
ALTER ROLE sink_capture LOGIN REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT;
ALTER ROLE sink_writer LOGIN NOREPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT;
ALTER ROLE sink_reader LOGIN NOREPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT;

-- A reader that writes is a mistake of ours, so the session refuses it before the grants do.
ALTER ROLE sink_reader SET default_transaction_read_only = on;
