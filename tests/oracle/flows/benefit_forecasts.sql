-- Flow 5: the version that was generated last; of two with the same time the later in the log. A projection keeps the
-- specification's columns only, and of these only values that are neither an object nor an array.
WITH forecast AS (
  SELECT version.*, (
    SELECT coalesce(jsonb_agg((
      SELECT coalesce(jsonb_object_agg(name, value), '{}')
      FROM jsonb_each(item) AS member (name, value)
      WHERE jsonb_typeof(value) NOT IN ('object', 'array') AND name IN (
        'projection_id', 'projection_type', 'scheme_code', 'scheme_name', 'period_start',
        'period_end', 'period_type', 'benefit_amount', 'benefit_count', 'benefit_frequency',
        'probability', 'confidence_level', 'eligibility_based_on', 'life_stage_event', 'event_date')
    ) ORDER BY position), '[]')
    FROM jsonb_array_elements(data -> 'projections') WITH ORDINALITY AS array_item (item, position)
    WHERE jsonb_typeof(item) = 'object'
  ) AS projections
  FROM version
  WHERE relation = 'forecast.benefit_forecasts' AND jsonb_typeof(data -> 'projections') = 'array'
)
SELECT DISTINCT ON (id) id AS key, jsonb_build_object(
    'family_id', data -> 'family_id', 'horizon_months', data -> 'horizon_months',
    'total_annual_value', data -> 'total_annual_value', 'scheme_count', data -> 'scheme_count',
    'projections', projections, 'generated_at', data -> 'generated_at') AS columns
FROM forecast
ORDER BY id, (data ->> 'generated_at')::timestamp DESC, seq DESC
