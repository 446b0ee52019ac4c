-- Flow 5. The version that was generated last; of two of one time the later one.
SELECT DISTINCT ON (id) id AS key, jsonb_build_object(
    'family_id', data -> 'family_id', 'horizon_months', data -> 'horizon_months',
    'total_annual_value', data -> 'total_annual_value', 'scheme_count', data -> 'scheme_count',
    'projections', data -> 'projections', 'generated_at', data -> 'generated_at') AS columns
FROM version
WHERE relation = 'forecast.benefit_forecasts' AND jsonb_typeof(data -> 'projections') = 'array'
ORDER BY id, (data ->> 'generated_at')::timestamp DESC, seq DESC
