-- Flow 1. Switched on as the warehouse lists them, off where it has or had the code and does not list it as active.
-- The portal's own columns are as the portal last wrote them.
WITH listed AS (
  SELECT * FROM public.scheme_master WHERE upper(status) = 'ACTIVE'
),
known AS (
  SELECT DISTINCT data ->> 'scheme_code' AS code FROM step WHERE relation = 'public.scheme_master' AND data IS NOT NULL
),
own AS (
  SELECT DISTINCT ON (id) data ->> 'code' AS code, data, writer <> 'sink_writer' AS by_portal
  FROM version WHERE relation = 'public.schemes'
  ORDER BY id, writer <> 'sink_writer' DESC, seq DESC
)
SELECT coalesce(listed.scheme_code, own.code) AS key,
  CASE
    WHEN listed.scheme_code IS NOT NULL THEN jsonb_build_object(
      'name', listed.scheme_name, 'description', listed.description, 'category', listed.category,
      'department', listed.department_name, 'eligibility_criteria', listed.eligibility_criteria_json,
      'benefits', listed.benefits_json, 'documents_required', listed.documents_required_json,
      'status', 'ACTIVE', 'last_updated', listed.updated_at)
    WHEN known.code IS NOT NULL THEN jsonb_build_object('status', 'INACTIVE')
    ELSE own.data
  END
  || CASE WHEN own.by_portal THEN jsonb_build_object('id', own.data ->> 'id') ELSE '{}' END
  || jsonb_build_object(
    'name_hindi', CASE WHEN own.by_portal THEN own.data -> 'name_hindi' END,
    'description_hindi', CASE WHEN own.by_portal THEN own.data -> 'description_hindi' END,
    'start_date', CASE WHEN own.by_portal THEN own.data -> 'start_date' END,
    'end_date', CASE WHEN own.by_portal THEN own.data -> 'end_date' END) AS columns
FROM own
FULL JOIN listed ON listed.scheme_code = own.code
LEFT JOIN known ON known.code = own.code
