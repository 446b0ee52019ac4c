-- One session that sees both databases: it stands in smart_warehouse, with the portal's tables as portal_*.
-- Everything here is temporary and gone with the transaction.
CREATE TEMP TABLE key_of (relation text PRIMARY KEY, key text NOT NULL);
INSERT INTO key_of VALUES
('public.golden_records', 'gr_id'), ('public.profile_360', 'profile_id'), ('public.scheme_master', 'scheme_id'),
('eligibility.eligibility_snapshots', 'snapshot_id'), ('forecast.benefit_forecasts', 'forecast_id'),
('decision.applications', 'application_id'), ('alerts.ml_alert_outbox', 'alert_id'), ('public.citizens', 'id'),
('public.citizen_identity_map', 'citizen_id'), ('public.schemes', 'id'), ('public.service_applications', 'id'),
('public.documents', 'id'), ('public.feedback', 'id');

-- What was there before the history began was always there.
CREATE TEMP TABLE change AS
SELECT seq, CASE WHEN op = 'EXISTING' THEN '-infinity' ELSE at END AS at, writer, relation, old, new
FROM (
  SELECT seq, at, op, writer, relation, old, new FROM history.change
  UNION ALL
  SELECT seq, at, op, writer, relation, old, new FROM portal_change
) AS recorded;

-- The history of each row under its key. A row that goes has no data; a new key is one row gone and another come.
CREATE TEMP TABLE step AS
SELECT relation, old ->> key AS id, seq, at, writer, NULL::jsonb AS old, NULL::jsonb AS data
FROM change JOIN key_of USING (relation)
WHERE old IS NOT NULL AND (new IS NULL OR old ->> key <> new ->> key)
UNION ALL
SELECT relation, new ->> key, seq, at, writer, CASE WHEN old ->> key = new ->> key THEN old END, new
FROM change JOIN key_of USING (relation)
WHERE new IS NOT NULL;
CREATE INDEX ON step (relation, id, seq);
ANALYZE step;

-- The versions of the rows that are there, each since it was last inserted.
CREATE TEMP TABLE version AS
SELECT step.* FROM step
WHERE data IS NOT NULL AND NOT EXISTS (
  SELECT FROM step AS gone
  WHERE gone.relation = step.relation AND gone.id = step.id AND gone.data IS NULL AND gone.seq > step.seq
);
CREATE INDEX ON version (relation, id);
ANALYZE version;

-- Which version of a row was there when.
CREATE TEMP TABLE span AS
SELECT relation, id, data, at AS since,
  lead(at, 1, 'infinity') OVER (PARTITION BY relation, id ORDER BY seq) AS until
FROM step;
DELETE FROM span WHERE data IS NULL;
CREATE INDEX ON span (relation, id);
CREATE INDEX ON span ((data ->> 'jan_aadhaar')) WHERE relation = 'public.golden_records';
CREATE INDEX ON span ((coalesce(data ->> 'family_id', data ->> 'gr_id'))) WHERE relation = 'public.citizen_identity_map';
ANALYZE span;

-- The warehouse's id of a portal's citizen at a moment, by the Aadhaar number; NULL where there is none.
CREATE FUNCTION pg_temp.warehouse_id(citizen text, moment timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT golden.data ->> 'citizen_id'
  FROM span AS account
  JOIN span AS golden ON golden.relation = 'public.golden_records'
    AND golden.data ->> 'jan_aadhaar' = account.data ->> 'aadhaar_number'
    AND golden.since <= moment AND moment < golden.until
  WHERE account.relation = 'public.citizens' AND account.id = citizen
    AND account.since <= moment AND moment < account.until
$$;

-- The same as a runner may have found it, who looks when it applies the event: what it tells if that was so at the
-- moment or at any after it, else what was so at the moment.
CREATE FUNCTION pg_temp.found_id(citizen text, moment timestamptz, told text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN at_once.id IS NOT DISTINCT FROM told OR EXISTS (
    SELECT
    FROM span AS account
    JOIN span AS golden ON golden.relation = 'public.golden_records'
      AND golden.data ->> 'jan_aadhaar' = account.data ->> 'aadhaar_number'
    CROSS JOIN LATERAL (VALUES (account.since), (account.until), (golden.since), (golden.until)) AS later (at)
    WHERE account.relation = 'public.citizens' AND account.id = citizen AND moment < later.at AND later.at < 'infinity'
      AND pg_temp.warehouse_id(citizen, later.at) IS NOT DISTINCT FROM told
  ) THEN told ELSE at_once.id END
  FROM (SELECT pg_temp.warehouse_id(citizen, moment)) AS at_once (id)
$$;

-- Whom an alert on a family goes to at a moment: its head, else its earliest created verified member.
CREATE FUNCTION pg_temp.addressee(family text, moment timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT known.id
  FROM span AS known
  JOIN span AS account ON account.relation = 'public.citizens' AND account.id = known.id
    AND account.since <= moment AND moment < account.until
  WHERE known.relation = 'public.citizen_identity_map'
    AND coalesce(known.data ->> 'family_id', known.data ->> 'gr_id') = family
    AND known.since <= moment AND moment < known.until
    AND ((known.data ->> 'is_family_head')::boolean OR upper(account.data ->> 'verification_status') = 'VERIFIED')
  ORDER BY (known.data ->> 'is_family_head')::boolean DESC, (account.data ->> 'created_at')::timestamp, known.id
  LIMIT 1
$$;
