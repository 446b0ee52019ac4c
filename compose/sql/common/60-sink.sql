-- The runner's own schema, and the privileges for replication origins, which mark its writes.
CREATE SCHEMA sink AUTHORIZATION sink_writer;

-- A role that may call these functions may use a replication origin. By name, because signatures differ by version.
DO $$
DECLARE
  origin_function regprocedure;
BEGIN
  FOR origin_function IN
    SELECT oid FROM pg_catalog.pg_proc
    WHERE pronamespace = 'pg_catalog'::regnamespace
      AND proname IN (
        'pg_replication_origin_create', 'pg_replication_origin_oid', 'pg_replication_origin_progress',
        'pg_replication_origin_session_is_setup', 'pg_replication_origin_session_progress',
        'pg_replication_origin_session_reset', 'pg_replication_origin_session_setup',
        'pg_replication_origin_xact_reset', 'pg_replication_origin_xact_setup')
  LOOP
    EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO sink_writer', origin_function);
  END LOOP;
END
$$;
