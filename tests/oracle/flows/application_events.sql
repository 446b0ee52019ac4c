-- Flow 9: one event for each change to a status that has an event type; the status is compared in upper case.
-- The event's time is the submission date of a submission, otherwise the time of the change. The time of an approval
-- is a column of its own. The event of an application for a scheme that the warehouse does not have is deferred.
WITH status_change AS (
  SELECT id, seq, at, data,
    CASE upper(data ->> 'status')
      WHEN 'SUBMITTED' THEN 'APPLICATION_SUBMITTED'
      WHEN 'APPROVED' THEN 'APPLICATION_APPROVED'
      WHEN 'REJECTED' THEN 'APPLICATION_REJECTED'
      WHEN 'WITHDRAWN' THEN 'APPLICATION_WITHDRAWN'
      WHEN 'CANCELLED' THEN 'APPLICATION_WITHDRAWN'
    END AS event_type
  FROM row_change
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
SELECT DISTINCT ON (key)
  concat_ws(' ', event.id, event.event_type, to_jsonb(event.event_timestamp) #>> '{}') AS key, jsonb_build_object(
    'citizen_id', CASE WHEN stored.application_id IS NULL THEN pg_temp.warehouse_id(data ->> 'citizen_id', at)
      ELSE pg_temp.id_at_or_after(data ->> 'citizen_id', at, stored.citizen_id) END, 'scheme_code', scheme.code,
    'approval_timestamp', event.approval_timestamp) AS columns
FROM event LEFT JOIN portal_schemes AS scheme ON scheme.id::text = data ->> 'scheme_id'
LEFT JOIN decision.application_events AS stored ON stored.application_id::text = event.id
  AND stored.event_type = event.event_type AND stored.event_timestamp = event.event_timestamp
WHERE event.event_timestamp IS NOT NULL
  AND (scheme.code IS NULL OR EXISTS (
    SELECT FROM public.scheme_master AS master WHERE master.scheme_code = scheme.code))
ORDER BY key, seq
