-- The privileges in smart_warehouse; the README beside this folder has the reasons.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;

-- Capture: reads the published tables and writes the heartbeat.
GRANT USAGE ON SCHEMA public, eligibility, forecast, decision, alerts, cdc TO sink_capture;
GRANT SELECT ON public.golden_records, public.profile_360, public.scheme_master,
eligibility.eligibility_snapshots, forecast.benefit_forecasts, decision.applications,
alerts.ml_alert_outbox TO sink_capture;
GRANT SELECT, INSERT, UPDATE ON cdc.heartbeat TO sink_capture;
-- An incremental snapshot inserts rows that mark its chunks, and deletes them.
GRANT SELECT, INSERT, DELETE ON cdc.debezium_signal TO sink_capture;

-- Writer: flows 8 to 12, column by column.
GRANT USAGE ON SCHEMA public, decision, analytics TO sink_writer;
-- Flow 8. updated_at and citizen_id are the warehouse's; a golden record is never deleted.
GRANT SELECT (
  gr_id, family_id, citizen_id, jan_aadhaar, full_name, date_of_birth, gender, district_id, city_village, pincode, status,
  mobile_number, email, updated_by, review_required, review_reason, source_updated_at, updated_at
),
INSERT (
  gr_id, jan_aadhaar, full_name, date_of_birth, gender, district_id, city_village, pincode, status,
  mobile_number, email, updated_by, review_required, review_reason, source_updated_at
),
UPDATE (
  full_name, date_of_birth, gender, district_id, city_village, pincode,
  mobile_number, email, updated_by, review_required, review_reason, source_updated_at
) ON public.golden_records TO sink_writer;
-- Flow 9 appends.
GRANT SELECT,
INSERT (application_id, citizen_id, scheme_code, event_type, event_timestamp, approval_timestamp)
ON decision.application_events TO sink_writer;
GRANT USAGE ON SEQUENCE decision.application_events_event_id_seq TO sink_writer;
-- Flow 10 deletes softly.
GRANT SELECT, INSERT,
UPDATE (
  citizen_id, document_type, file_name, file_size, uploaded_at, verification_status, is_deleted, synced_at
) ON public.document_metadata TO sink_writer;
-- Flow 11 replaces a day.
GRANT SELECT, INSERT, DELETE,
UPDATE (event_count, total_duration_seconds, first_event_at, last_event_at)
ON analytics.user_behavior TO sink_writer;
-- Flow 12 inserts once.
GRANT SELECT, INSERT ON analytics.feedback_analytics TO sink_writer;

-- Reader: what flows 1 to 7 read in batches, re-read and compare, and what flows 8 to 12 look up. profile_data, the income confidence and the
-- risk flags never leave the warehouse, so they are not readable either.
GRANT USAGE ON SCHEMA public, eligibility, forecast, decision, alerts TO sink_reader;
GRANT SELECT ON public.scheme_master, eligibility.scheme_master, eligibility.eligibility_snapshots,
forecast.benefit_forecasts, decision.applications, alerts.ml_alert_outbox, public.districts, public.district_alias TO sink_reader;
GRANT SELECT (
  xmin, gr_id, family_id, citizen_id, jan_aadhaar, full_name, date_of_birth, gender, district_id, city_village,
  status, mobile_number, email, created_at, updated_at, source_updated_at
) ON public.golden_records TO sink_reader;
GRANT SELECT (
  xmin, profile_id, gr_id, family_id, inferred_income_band, cluster_id, vulnerability_level, under_coverage_indicator,
  created_at, updated_at
) ON public.profile_360 TO sink_reader;
-- Flow 9 looks up the events of an application.
GRANT SELECT (application_id, event_type, event_timestamp) ON decision.application_events TO sink_reader;
