-- Rights and settings of the database itself. A copy made with CREATE DATABASE … TEMPLATE lacks exactly these, so they
-- are in a file of their own, which may be run again.
DO $$
DECLARE
  db text := pg_catalog.quote_ident(pg_catalog.current_database());
BEGIN
  EXECUTE 'REVOKE ALL ON DATABASE ' || db || ' FROM PUBLIC';
  EXECUTE 'GRANT CONNECT ON DATABASE ' || db || ' TO sink_capture, sink_writer, sink_reader';
  -- The writer stages a batch in a temporary table.
  EXECUTE 'GRANT TEMPORARY ON DATABASE ' || db || ' TO sink_writer';
  -- Columns without zone mean UTC, so CURRENT_TIMESTAMP must give it.
  EXECUTE 'ALTER DATABASE ' || db || ' SET timezone = ''UTC''';
END
$$;
