-- Flow 11. By the warehouse's id of the citizen, type and UTC day; who has no such id waits.
-- A day is told once it is over.
SELECT concat_ws(' ', golden.citizen_id, event_type, occurred_at::date) AS key, jsonb_build_object(
    'event_count', count(*), 'total_duration_seconds', coalesce(sum(duration_seconds), 0),
    'first_event_at', min(occurred_at), 'last_event_at', max(occurred_at)) AS columns
FROM portal_user_behavior_events AS event
JOIN portal_citizens AS account ON account.id = event.citizen_id
JOIN public.golden_records AS golden ON golden.jan_aadhaar = account.aadhaar_number
WHERE golden.citizen_id IS NOT NULL
  AND occurred_at < (SELECT date_trunc('day', max(at) AT TIME ZONE 'UTC') FROM run WHERE flow = 'user_behavior')
GROUP BY golden.citizen_id, event_type, occurred_at::date
