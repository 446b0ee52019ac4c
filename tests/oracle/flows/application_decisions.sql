-- Flow 6: the newest decision on each application of the portal, matched by its id, otherwise by its number.
WITH decision AS (
  SELECT DISTINCT ON (id) id, seq, data, (data ->> 'decision_timestamp')::timestamp AS decision_date
  FROM version
  WHERE relation = 'decision.applications' AND jsonb_typeof(data -> 'reasons') = 'array'
  ORDER BY id, decision_date DESC, seq DESC
),
matched AS (
  SELECT decision.*, coalesce(by_id.id, by_number.id) AS application
  FROM decision
  LEFT JOIN portal_service_applications AS by_id ON by_id.id::text = decision.id
  LEFT JOIN portal_service_applications AS by_number
    ON by_number.application_number = decision.data ->> 'application_number'
)
SELECT DISTINCT ON (application) application AS key, jsonb_build_object(
    'decision_status', data -> 'decision', 'risk_score', data -> 'risk_score', 'confidence', data -> 'confidence',
    'decision_date', decision_date, 'decision_reasons', data -> 'reasons') AS columns
FROM matched
WHERE application IS NOT NULL
ORDER BY application, decision_date DESC, seq DESC
