-- Flow 9. One event for each change of status, in upper or lower case, to one that has an event type.
-- Its time is that of the change (a submission keeps its own); when an approval was given is a column.
-- An application for a scheme that the warehouse does not have waits.
WITH status_change AS (
  SELECT id, seq, at, data,
    CASE upper(data ->> 'status')
      WHEN 'SUBMITTED' THEN 'APPLICATION_SUBMITTED'
      WHEN 'APPROVED' THEN 'APPLICATION_APPROVED'
      WHEN 'REJECTED' THEN 'APPLICATION_REJECTED'
      WHEN 'WITHDRAWN' THEN 'APPLICATION_WITHDRAWN'
      WHEN 'CANCELLED' THEN 'APPLICATION_WITHDRAWN'
    END AS event_type
  FROM step
  WHERE relation = 'public.service_applications' AND data IS NOT NULL
    AND (old IS NULL OR upper(old ->> 'status') IS DISTINCT FROM upper(data ->> 'status'))
),
event AS (
  SELECT status_change.*,
    (CASE event_type
      WHEN 'APPLICATION_SUBMITTED' THEN data ->> 'submission_date'
      ELSE data ->> 'updated_at'
    END)::timestamp AS event_timestamp,
    CASE event_type WHEN 'APPLICATION_APPROVED' THEN coalesce(data ->> 'approved_at', data ->> 'updated_at')
    END::timestamp AS approval_timestamp
  FROM status_change WHERE event_type IS NOT NULL
)
SELECT DISTINCT ON (key) concat_ws(' ', event.id, event.event_type, to_jsonb(event.event_timestamp) #>> '{}') AS key, jsonb_build_object(
    'citizen_id', CASE WHEN is_.application_id IS NULL THEN pg_temp.warehouse_id(data ->> 'citizen_id', at)
      ELSE pg_temp.found_id(data ->> 'citizen_id', at, is_.citizen_id) END, 'scheme_code', scheme.code,
    'approval_timestamp', event.approval_timestamp) AS columns
FROM event LEFT JOIN portal_schemes AS scheme ON scheme.id::text = data ->> 'scheme_id'
LEFT JOIN decision.application_events AS is_ ON is_.application_id::text = event.id
  AND is_.event_type = event.event_type AND is_.event_timestamp = event.event_timestamp
WHERE event.event_timestamp IS NOT NULL
  AND (scheme.code IS NULL OR EXISTS (SELECT FROM public.scheme_master AS known WHERE known.scheme_code = scheme.code))
ORDER BY key, seq
