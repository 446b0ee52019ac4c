-- Flow 10. What is known of a document last; one that was deleted stays, marked.  A full batch asks anew for the
-- ids of those that are there.
WITH known AS (
  SELECT DISTINCT ON (id) id, seq, at, data
  FROM step
  WHERE relation = 'public.documents' AND data ->> 'uploaded_at' IS NOT NULL
    AND coalesce((data ->> 'file_size')::bigint, 0) >= 0
    AND coalesce(upper(data ->> 'verification_status'), 'PENDING') IN ('PENDING', 'VERIFIED', 'REJECTED', 'EXPIRED')
  ORDER BY id, seq DESC
), asked AS (
  SELECT known.*, greatest(at, (
      SELECT max(run.at) FROM run
      WHERE run.flow = 'document_metadata' AND NOT EXISTS (
        SELECT FROM step AS gone
        WHERE gone.relation = 'public.documents' AND gone.id = known.id AND gone.data IS NULL
          AND gone.seq > known.seq AND gone.at < run.at))) AS looked
  FROM known
)
SELECT id AS key, jsonb_build_object(
    'citizen_id', CASE WHEN is_.document_id IS NULL THEN pg_temp.warehouse_id(data ->> 'citizen_id', looked)
      ELSE pg_temp.found_id(data ->> 'citizen_id', looked, is_.citizen_id) END, 'document_type', data -> 'document_type',
    'file_name', data -> 'document_name', 'file_size', data -> 'file_size', 'uploaded_at', data -> 'uploaded_at',
    'verification_status', data -> 'verification_status',
    'is_deleted', NOT EXISTS (
      SELECT FROM version WHERE version.relation = 'public.documents' AND version.id = asked.id)) AS columns
FROM asked LEFT JOIN public.document_metadata AS is_ ON is_.document_id::text = asked.id
