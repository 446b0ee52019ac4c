-- The latest evaluation of each member and scheme, then the best member of each scheme.  A failed
-- evaluation leaves its member out.
SELECT family_id, scheme_code, member_id, evaluation_status, eligibility_score,
       confidence_score, explanation, evaluation_timestamp
FROM (
  SELECT DISTINCT ON (scheme_code) *
  FROM (
    SELECT DISTINCT ON (member_id, scheme_code)
           family_id, scheme_code, member_id, evaluation_status, eligibility_score,
           confidence_score, explanation, evaluation_timestamp
    FROM eligibility.eligibility_snapshots
    WHERE family_id = %(family_id)s::uuid
    ORDER BY member_id, scheme_code, evaluation_timestamp DESC,
             evaluation_version DESC NULLS LAST, snapshot_id DESC
  ) AS latest
  WHERE upper(evaluation_status) <> 'ERROR'
  ORDER BY scheme_code,
           array_position(ARRAY['RULE_ELIGIBLE', 'POSSIBLE_ELIGIBLE', 'UNCERTAIN'],
                          upper(evaluation_status)::text) NULLS LAST,
           coalesce(eligibility_score, 0) DESC, coalesce(confidence_score, 0) DESC,
           evaluation_timestamp DESC
) AS best
ORDER BY coalesce(eligibility_score, 0) DESC, coalesce(confidence_score, 0) DESC,
         evaluation_timestamp DESC, scheme_code
