-- Flow 12. Once, as the first run saw it that found it there.
SELECT DISTINCT ON (found.id) found.id AS key, jsonb_build_object(
    'citizen_id', pg_temp.warehouse_id(found.data ->> 'citizen_id', run.at), 'feedback_type', found.data -> 'type',
    'rating', found.data -> 'rating', 'comment', found.data -> 'message', 'scheme_code', scheme.code,
    'created_at', found.data -> 'created_at') AS columns
FROM span AS found
JOIN run ON run.flow = 'feedback_analytics' AND found.since <= run.at AND run.at < found.until
LEFT JOIN span AS application ON application.relation = 'public.service_applications'
  AND application.id = found.data ->> 'application_id' AND application.since <= run.at AND run.at < application.until
LEFT JOIN portal_schemes AS scheme ON scheme.id::text = application.data ->> 'scheme_id'
WHERE found.relation = 'public.feedback'
ORDER BY found.id, run.at
