-- Flow 12: each feedback as the first batch run that found it read it.
SELECT DISTINCT ON (feedback.id) feedback.id AS key, jsonb_build_object(
    'citizen_id', pg_temp.warehouse_id(feedback.data ->> 'citizen_id', run.at),
    'feedback_type', feedback.data -> 'type',
    'rating', feedback.data -> 'rating', 'comment', feedback.data -> 'message', 'scheme_code', scheme.code,
    'created_at', feedback.data -> 'created_at') AS columns
FROM version_period AS feedback
JOIN batch_run AS run ON run.flow = 'feedback_analytics' AND feedback.since <= run.at AND run.at < feedback.until
LEFT JOIN version_period AS application ON application.relation = 'public.service_applications'
  AND application.id = feedback.data ->> 'application_id' AND application.since <= run.at AND run.at < application.until
LEFT JOIN portal_schemes AS scheme ON scheme.id::text = application.data ->> 'scheme_id'
WHERE feedback.relation = 'public.feedback'
ORDER BY feedback.id, run.at
