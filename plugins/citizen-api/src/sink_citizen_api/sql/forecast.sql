SELECT forecast_id, family_id, horizon_months, total_annual_value, scheme_count, projections,
       generated_at
FROM forecast.benefit_forecasts
WHERE family_id = %(family_id)s::uuid
ORDER BY generated_at DESC, forecast_id DESC
LIMIT 1
