-- Flow 11: the events by the warehouse's id of the citizen, event type and UTC day. The events of a citizen without
-- such an id are deferred. A day is aggregated by the first batch run after its end.
SELECT concat_ws(' ', golden.citizen_id, event_type, occurred_at::date) AS key, jsonb_build_object(
    'event_count', count(*), 'total_duration_seconds', coalesce(sum(duration_seconds), 0),
    'first_event_at', min(occurred_at), 'last_event_at', max(occurred_at)) AS columns
FROM portal_user_behavior_events AS event
JOIN portal_citizens AS account ON account.id = event.citizen_id
JOIN public.golden_records AS golden ON golden.jan_aadhaar = account.aadhaar_number
WHERE golden.citizen_id IS NOT NULL
  AND occurred_at < (SELECT date_trunc('day', max(at) AT TIME ZONE 'UTC') FROM batch_run WHERE flow = 'user_behavior')
GROUP BY golden.citizen_id, event_type, occurred_at::date
