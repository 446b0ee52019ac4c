-- The control tables, for the writer. What was audited stays as it was written.
GRANT SELECT, INSERT ON public.cdc_audit_log TO sink_writer;
GRANT SELECT, INSERT, UPDATE (resolved_by, resolved_at, resolution_action, resolution_notes)
ON public.cdc_conflict_resolution TO sink_writer;
GRANT SELECT, INSERT, DELETE, UPDATE (processed_at) ON public.sync_processed_event TO sink_writer;
GRANT SELECT, INSERT, DELETE, UPDATE (last_synced_at) ON public.sync_watermark TO sink_writer;
GRANT SELECT, INSERT, DELETE,
UPDATE (attempts, status, error_class, sqlstate, error_message, stack_trace, published_attempts)
ON public.sync_dlq TO sink_writer;
-- For another key: what is sealed, by which, and the fingerprint that goes with it.
GRANT UPDATE (source_data, key_id, event_key_hash) ON public.sync_dlq TO sink_writer;
GRANT USAGE ON SEQUENCE public.cdc_audit_log_audit_id_seq,
public.cdc_conflict_resolution_conflict_id_seq, public.sync_dlq_dlq_id_seq TO sink_writer;
