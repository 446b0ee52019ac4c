-- Flow 1: a scheme that is active in the warehouse is ACTIVE and has the warehouse's columns. Any other scheme whose
-- code the warehouse has or ever had is INACTIVE. The portal's own columns keep what the portal last wrote.
WITH active AS (
  SELECT * FROM public.scheme_master WHERE upper(status) = 'ACTIVE'
),
warehouse_code AS (
  SELECT DISTINCT data ->> 'scheme_code' AS code FROM row_change
  WHERE relation = 'public.scheme_master' AND data IS NOT NULL
),
portal_scheme AS (
  SELECT DISTINCT ON (id) data ->> 'code' AS code, data, writer <> 'sink_writer' AS by_portal
  FROM version WHERE relation = 'public.schemes'
  ORDER BY id, writer <> 'sink_writer' DESC, seq DESC
)
SELECT coalesce(active.scheme_code, portal_scheme.code) AS key,
  CASE
    WHEN active.scheme_code IS NOT NULL THEN jsonb_build_object(
      'name', active.scheme_name, 'description', active.description, 'category', active.category,
      'department', active.department_name, 'eligibility_criteria', active.eligibility_criteria_json,
      'benefits', active.benefits_json, 'documents_required', active.documents_required_json,
      'status', 'ACTIVE', 'last_updated', active.updated_at)
    WHEN warehouse_code.code IS NOT NULL THEN jsonb_build_object('status', 'INACTIVE')
    ELSE portal_scheme.data
  END
  || CASE WHEN portal_scheme.by_portal THEN jsonb_build_object('id', portal_scheme.data ->> 'id') ELSE '{}' END
  || jsonb_build_object(
    'name_hindi', CASE WHEN portal_scheme.by_portal THEN portal_scheme.data -> 'name_hindi' END,
    'description_hindi', CASE WHEN portal_scheme.by_portal THEN portal_scheme.data -> 'description_hindi' END,
    'start_date', CASE WHEN portal_scheme.by_portal THEN portal_scheme.data -> 'start_date' END,
    'end_date', CASE WHEN portal_scheme.by_portal THEN portal_scheme.data -> 'end_date' END) AS columns
FROM portal_scheme
FULL JOIN active ON active.scheme_code = portal_scheme.code
LEFT JOIN warehouse_code ON warehouse_code.code = portal_scheme.code
