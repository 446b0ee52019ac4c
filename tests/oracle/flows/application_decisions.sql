-- Flow 6. The newest decision on each application that the portal has, known by its id, else by its number.
WITH decided AS (
  SELECT DISTINCT ON (id) id, seq, data, (data ->> 'decision_timestamp')::timestamp AS decision_date
  FROM version
  WHERE relation = 'decision.applications' AND jsonb_typeof(data -> 'reasons') = 'array'
  ORDER BY id, decision_date DESC, seq DESC
),
matched AS (
  SELECT decided.*, coalesce(by_id.id, by_number.id) AS application
  FROM decided
  LEFT JOIN portal_service_applications AS by_id ON by_id.id::text = decided.id
  LEFT JOIN portal_service_applications AS by_number
    ON by_number.application_number = decided.data ->> 'application_number'
)
SELECT DISTINCT ON (application) application AS key, jsonb_build_object(
    'decision_status', data -> 'decision', 'risk_score', data -> 'risk_score', 'confidence', data -> 'confidence',
    'decision_date', decision_date, 'decision_reasons', data -> 'reasons') AS columns
FROM matched
WHERE application IS NOT NULL
ORDER BY application, decision_date DESC, seq DESC
