-- Flow 3: the newest profile of each family, each profile in its newest version.
WITH profile AS (
  SELECT DISTINCT ON (id) id, seq, data, (data ->> 'updated_at')::timestamp AS updated_at
  FROM version
  WHERE relation = 'public.profile_360' AND data ->> 'updated_at' IS NOT NULL
    AND coalesce((data ->> 'created_at')::timestamp <= (data ->> 'updated_at')::timestamp, true)
    AND coalesce(data ->> 'vulnerability_level', 'LOW') IN ('VERY_HIGH', 'HIGH', 'MEDIUM', 'LOW', 'VERY_LOW')
  ORDER BY id, updated_at DESC, seq DESC
)
SELECT DISTINCT ON (key) coalesce(data ->> 'family_id', data ->> 'gr_id') AS key, jsonb_build_object(
    'vulnerability', data -> 'vulnerability_level', 'under_coverage', data -> 'under_coverage_indicator',
    'income_category', 'CONFIDENTIAL', 'region', data -> 'cluster_id', 'source_updated_at', updated_at) AS columns
FROM profile
ORDER BY key, updated_at DESC, seq DESC
