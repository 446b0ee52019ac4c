-- Inserts accounts in their initial state.
INSERT INTO {table}
SELECT
  id,
  md5('account ' || id)::uuid,
  'Person ' || md5('name ' || id),
  CASE WHEN id %% 7 > 0 THEN 'Father ' || md5('father ' || id) END,
  CASE WHEN id %% 6 > 0 THEN 'person.' || id || '@example.org' END,
  CASE WHEN id %% 8 > 0 THEN '9' || lpad((id * 7919 %% 1000000000)::text, 9, '0') END,
  '0' || lpad((id * 104729 %% 100000000000)::text, 11, '0'),
  CASE WHEN id %% 5 > 0 THEN 'House ' || id %% 977 || ', Ward ' || id %% 31 END,
  'City ' || id %% 211,
  lpad((id * 31 %% 1000000)::text, 6, '0'),
  CASE WHEN id %% 9 > 0 THEN date '1940-01-01' + (id * 37 %% 25000)::int END,
  'NEW',
  id %% 41,
  (id * 6151 %% 100000000) / 100.0,
  CASE WHEN id %% 4 > 0 THEN (id * 12289 %% 10000000) / 100.0 END,
  id %% 3 = 0,
  true,
  timestamp '2024-01-01' + id * interval '1 second',
  timestamp '2024-06-01' + id * interval '1 second',
  0
FROM generate_series(%(first)s::bigint, %(last)s::bigint, %(step)s::bigint) AS id
