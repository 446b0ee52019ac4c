-- Flow 10: the last valid version of each document; a deleted document stays, with is_deleted. A full batch run looks
-- up the citizen ids of the existing documents again.
WITH last_version AS (
  SELECT DISTINCT ON (id) id, seq, at, data
  FROM row_change
  WHERE relation = 'public.documents' AND data ->> 'uploaded_at' IS NOT NULL
    AND coalesce((data ->> 'file_size')::bigint, 0) >= 0
    AND coalesce(upper(data ->> 'verification_status'), 'PENDING') IN ('PENDING', 'VERIFIED', 'REJECTED', 'EXPIRED')
  ORDER BY id, seq DESC
), document AS (
  SELECT last_version.*, greatest(at, (
      SELECT max(batch_run.at) FROM batch_run
      WHERE batch_run.flow = 'document_metadata' AND NOT EXISTS (
        SELECT FROM row_change AS deletion
        WHERE deletion.relation = 'public.documents' AND deletion.id = last_version.id AND deletion.data IS NULL
          AND deletion.seq > last_version.seq AND deletion.at < batch_run.at))) AS looked_up_at
  FROM last_version
)
SELECT id AS key, jsonb_build_object(
    'citizen_id', CASE WHEN stored.document_id IS NULL THEN pg_temp.warehouse_id(data ->> 'citizen_id', looked_up_at)
      ELSE pg_temp.id_at_or_after(data ->> 'citizen_id', looked_up_at, stored.citizen_id) END,
    'document_type', data -> 'document_type',
    'file_name', data -> 'document_name', 'file_size', data -> 'file_size', 'uploaded_at', data -> 'uploaded_at',
    'verification_status', data -> 'verification_status',
    'is_deleted', NOT EXISTS (
      SELECT FROM version WHERE version.relation = 'public.documents' AND version.id = document.id)) AS columns
FROM document LEFT JOIN public.document_metadata AS stored ON stored.document_id::text = document.id
