-- The privileges in smart_citizen; the README beside this folder has the reasons.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;

-- Capture: reads the published tables and writes the heartbeat.
GRANT USAGE ON SCHEMA public, cdc TO sink_capture;
GRANT SELECT ON public.citizens, public.service_applications, public.documents, public.feedback,
public.user_behavior_events TO sink_capture;
GRANT SELECT, INSERT, UPDATE ON cdc.heartbeat TO sink_capture;
-- An incremental snapshot inserts rows that mark its chunks, and deletes them.
GRANT SELECT, INSERT, DELETE ON cdc.debezium_signal TO sink_capture;

-- Writer: flows 1 to 7, column by column.
GRANT USAGE ON SCHEMA public TO sink_writer;
-- Flow 1. The Hindi texts and the dates are the portal's; a scheme is switched off, never deleted.
GRANT SELECT (
  id, code, name, description, category, department, eligibility_criteria, benefits, documents_required,
  status, last_updated
),
INSERT (
  id, code, name, description, category, department, eligibility_criteria, benefits, documents_required,
  status, last_updated
),
UPDATE (
  name, description, category, department, eligibility_criteria, benefits, documents_required, status, last_updated
) ON public.schemes TO sink_writer;
-- Flow 2 removes merged and inactive records.
GRANT SELECT, INSERT, DELETE,
UPDATE (
  family_id, jan_aadhaar, full_name, date_of_birth, gender, district_id, city, mobile_number, email,
  source_updated_at, synced_at
) ON public.profile_data TO sink_writer;
-- Flow 3 removes a family whose last profile is gone.
GRANT SELECT, INSERT, DELETE,
UPDATE (vulnerability, under_coverage, income_category, region, source_updated_at, synced_at)
ON public.profile_summary TO sink_writer;
-- Flow 4 removes hints that fall out of the top five.
GRANT SELECT, INSERT, DELETE,
UPDATE (eligibility_status, eligibility_score, confidence, explanation, updated_at)
ON public.eligibility_hints TO sink_writer;
-- Flows 5 and 6 follow a deleted source row.
GRANT SELECT, INSERT, DELETE,
UPDATE (family_id, horizon_months, total_annual_value, scheme_count, projections, generated_at)
ON public.benefit_forecasts TO sink_writer;
GRANT SELECT, INSERT, DELETE,
UPDATE (decision_status, risk_score, confidence, decision_date, decision_reasons)
ON public.application_decisions TO sink_writer;
-- Flow 7 inserts once.
GRANT SELECT, INSERT ON public.ml_alerts TO sink_writer;
-- Flow 6 derives the decisions of applications that are still there.
GRANT SELECT (id) ON public.service_applications TO sink_writer;

-- Reader: what flows 6 to 12 look up, and what flows 8 to 12 read in batches and compare. Address lines, search texts, file paths and
-- hashes, and the contents of applications never leave the portal, so they are not readable either.
GRANT USAGE ON SCHEMA public TO sink_reader;
GRANT SELECT (
  xmin, id, aadhaar_number, mobile_number, email, full_name, date_of_birth, gender, city, district, pincode,
  status, verification_status, created_at, updated_at
) ON public.citizens TO sink_reader;
GRANT SELECT (xmin, id, code, name, status) ON public.schemes TO sink_reader;
GRANT SELECT (
  xmin, id, application_number, citizen_id, scheme_id, status, submission_date, actual_completion_date, approved_at,
  created_at, updated_at
) ON public.service_applications TO sink_reader;
GRANT SELECT (
  xmin, id, application_id, citizen_id, document_type, document_name, file_size, verification_status, uploaded_at,
  created_at, updated_at
) ON public.documents TO sink_reader;
GRANT SELECT (xmin, id, citizen_id, application_id, type, rating, message, created_at, updated_at)
ON public.feedback TO sink_reader;
GRANT SELECT (xmin, event_id, citizen_id, event_type, duration_seconds, occurred_at)
ON public.user_behavior_events TO sink_reader;
GRANT SELECT ON public.citizen_identity_map TO sink_reader;
