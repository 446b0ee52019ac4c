-- Flow 7. Once, as it was first; to whom it could first be given. It goes with that citizen.
-- A type that is no code is OTHER, and a link ends before its query.
WITH alert AS (
  SELECT DISTINCT ON (id) id, at, data
  FROM step WHERE relation = 'alerts.ml_alert_outbox' AND data IS NOT NULL
  ORDER BY id, seq
),
given AS (
  SELECT alert.*, coalesce(
    pg_temp.addressee(data ->> 'family_id', at),
    (
      SELECT pg_temp.addressee(data ->> 'family_id', later.at)
      FROM change AS later
      WHERE later.relation IN ('public.citizen_identity_map', 'public.citizens') AND later.at > alert.at
        AND pg_temp.addressee(data ->> 'family_id', later.at) IS NOT NULL
      ORDER BY later.at LIMIT 1
    )) AS citizen
  FROM alert
)
SELECT given.id AS key, jsonb_build_object(
    'citizen_id', citizen,
    'alert_type', CASE WHEN data ->> 'alert_type' ~ '^[A-Z]([A-Z_]*[0-9]?){0,4}[A-Z_]*$'
      THEN data ->> 'alert_type' ELSE 'OTHER' END,
    'severity', data -> 'severity', 'message', data -> 'message',
    'action_url', regexp_replace(data ->> 'action_url', '[?#].*', ''),
    'created_at', data -> 'created_at') AS columns
FROM given JOIN portal_citizens ON portal_citizens.id::text = given.citizen
