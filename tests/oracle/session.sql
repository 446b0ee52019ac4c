-- Prepares a session in smart_warehouse that also has the portal's tables, as portal_*. Every object is temporary.
CREATE TEMP TABLE key_column (relation text PRIMARY KEY, key text NOT NULL);
INSERT INTO key_column VALUES
('public.golden_records', 'gr_id'), ('public.profile_360', 'profile_id'), ('public.scheme_master', 'scheme_id'),
('eligibility.eligibility_snapshots', 'snapshot_id'), ('forecast.benefit_forecasts', 'forecast_id'),
('decision.applications', 'application_id'), ('alerts.ml_alert_outbox', 'alert_id'), ('public.citizens', 'id'),
('public.citizen_identity_map', 'citizen_id'), ('public.schemes', 'id'), ('public.service_applications', 'id'),
('public.documents', 'id'), ('public.feedback', 'id');

-- A row that existed when recording began has existed since -infinity.
CREATE TEMP TABLE change AS
SELECT seq, CASE WHEN op = 'EXISTING' THEN '-infinity' ELSE at END AS at, writer, relation, old, new
FROM (
  SELECT seq, at, op, writer, relation, old, new FROM history.change
  UNION ALL
  SELECT seq, at, op, writer, relation, old, new FROM portal_change
) AS recorded;

-- The changes by the key of the row. A deletion has no data. An update of the key is the deletion of one row and the
-- insertion of another.
CREATE TEMP TABLE row_change AS
SELECT relation, old ->> key AS id, seq, at, writer, NULL::jsonb AS old, NULL::jsonb AS data
FROM change JOIN key_column USING (relation)
WHERE old IS NOT NULL AND (new IS NULL OR old ->> key <> new ->> key)
UNION ALL
SELECT relation, new ->> key, seq, at, writer, CASE WHEN old ->> key = new ->> key THEN old END, new
FROM change JOIN key_column USING (relation)
WHERE new IS NOT NULL;
CREATE INDEX ON row_change (relation, id, seq);
ANALYZE row_change;

-- All versions of the rows that exist, from their last insertion on.
CREATE TEMP TABLE version AS
SELECT row_change.* FROM row_change
WHERE data IS NOT NULL AND NOT EXISTS (
  SELECT FROM row_change AS deletion
  WHERE deletion.relation = row_change.relation AND deletion.id = row_change.id
    AND deletion.data IS NULL AND deletion.seq > row_change.seq
);
CREATE INDEX ON version (relation, id);
ANALYZE version;

-- The period in which each version was current, those of deleted rows included.
CREATE TEMP TABLE version_period AS
SELECT relation, id, data, at AS since,
  lead(at, 1, 'infinity') OVER (PARTITION BY relation, id ORDER BY seq) AS until
FROM row_change;
DELETE FROM version_period WHERE data IS NULL;
CREATE INDEX ON version_period (relation, id);
CREATE INDEX ON version_period ((data ->> 'jan_aadhaar')) WHERE relation = 'public.golden_records';
CREATE INDEX ON version_period ((coalesce(data ->> 'family_id', data ->> 'gr_id')))
WHERE relation = 'public.citizen_identity_map';
ANALYZE version_period;

-- The warehouse's id of a citizen of the portal at a given time, matched by Aadhaar number; NULL without a match.
CREATE FUNCTION pg_temp.warehouse_id(citizen text, read_at timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT golden.data ->> 'citizen_id'
  FROM version_period AS account
  JOIN version_period AS golden ON golden.relation = 'public.golden_records'
    AND golden.data ->> 'jan_aadhaar' = account.data ->> 'aadhaar_number'
    AND golden.since <= read_at AND read_at < golden.until
  WHERE account.relation = 'public.citizens' AND account.id = citizen
    AND account.since <= read_at AND read_at < account.until
$$;

-- The id that a runner may have written. A runner looks the id up when it applies the event, which may be later than
-- the event: the written id is right if it was the citizen's id at the event or at any time after it. Otherwise the
-- id at the time of the event is expected.
CREATE FUNCTION pg_temp.id_at_or_after(citizen text, event_at timestamptz, written text) RETURNS text
LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN at_event.id IS NOT DISTINCT FROM written OR EXISTS (
    SELECT
    FROM version_period AS account
    JOIN version_period AS golden ON golden.relation = 'public.golden_records'
      AND golden.data ->> 'jan_aadhaar' = account.data ->> 'aadhaar_number'
    CROSS JOIN LATERAL (VALUES (account.since), (account.until), (golden.since), (golden.until)) AS later (at)
    WHERE account.relation = 'public.citizens' AND account.id = citizen
      AND event_at < later.at AND later.at < 'infinity'
      AND pg_temp.warehouse_id(citizen, later.at) IS NOT DISTINCT FROM written
  ) THEN written ELSE at_event.id END
  FROM (SELECT pg_temp.warehouse_id(citizen, event_at)) AS at_event (id)
$$;

-- The citizen that receives an alert on a family at a given time: the family's head, otherwise the verified member
-- whose account was created first.
CREATE FUNCTION pg_temp.alert_recipient(family text, read_at timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT identity.id
  FROM version_period AS identity
  JOIN version_period AS account ON account.relation = 'public.citizens' AND account.id = identity.id
    AND account.since <= read_at AND read_at < account.until
  WHERE identity.relation = 'public.citizen_identity_map'
    AND coalesce(identity.data ->> 'family_id', identity.data ->> 'gr_id') = family
    AND identity.since <= read_at AND read_at < identity.until
    AND ((identity.data ->> 'is_family_head')::boolean OR upper(account.data ->> 'verification_status') = 'VERIFIED')
  ORDER BY (identity.data ->> 'is_family_head')::boolean DESC, (account.data ->> 'created_at')::timestamp, identity.id
  LIMIT 1
$$;
