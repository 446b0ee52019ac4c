-- Flow 7: the first version of each alert, for the first citizen that it could be delivered to. An alert is removed
-- with that citizen. An alert type that is not a code becomes OTHER, and a link loses its query.
WITH alert AS (
  SELECT DISTINCT ON (id) id, at, data
  FROM row_change WHERE relation = 'alerts.ml_alert_outbox' AND data IS NOT NULL
  ORDER BY id, seq
),
delivered AS (
  SELECT alert.*, coalesce(
    pg_temp.alert_recipient(data ->> 'family_id', at),
    (
      SELECT pg_temp.alert_recipient(data ->> 'family_id', later.at)
      FROM change AS later
      WHERE later.relation IN ('public.citizen_identity_map', 'public.citizens') AND later.at > alert.at
        AND pg_temp.alert_recipient(data ->> 'family_id', later.at) IS NOT NULL
      ORDER BY later.at LIMIT 1
    )) AS citizen
  FROM alert
)
SELECT delivered.id AS key, jsonb_build_object(
    'citizen_id', citizen,
    'alert_type', CASE WHEN data ->> 'alert_type' ~ '^[A-Z]([A-Z_]*[0-9]?){0,4}[A-Z_]*$'
      THEN data ->> 'alert_type' ELSE 'OTHER' END,
    'severity', data -> 'severity', 'message', data -> 'message',
    'action_url', regexp_replace(data ->> 'action_url', '[?#].*', ''),
    'created_at', data -> 'created_at') AS columns
FROM delivered JOIN portal_citizens ON portal_citizens.id::text = delivered.citizen
