-- Flow 10. What is known of a document last; one that was deleted stays, marked.
WITH known AS (
  SELECT DISTINCT ON (id) id, at, data
  FROM step
  WHERE relation = 'public.documents' AND data ->> 'uploaded_at' IS NOT NULL
    AND coalesce((data ->> 'file_size')::bigint, 0) >= 0
    AND coalesce(upper(data ->> 'verification_status'), 'PENDING') IN ('PENDING', 'VERIFIED', 'REJECTED', 'EXPIRED')
  ORDER BY id, seq DESC
)
SELECT known.id AS key, jsonb_build_object(
    'citizen_id', pg_temp.warehouse_id(data ->> 'citizen_id', at), 'document_type', data -> 'document_type',
    'file_name', data -> 'document_name', 'file_size', data -> 'file_size', 'uploaded_at', data -> 'uploaded_at',
    'verification_status', data -> 'verification_status',
    'is_deleted', NOT EXISTS (
      SELECT FROM version WHERE version.relation = 'public.documents' AND version.id = known.id)) AS columns
FROM known
