-- Changes random rows, twenty per transaction, as many small writers would, and records each row in bench.history.
CREATE OR REPLACE PROCEDURE bench.change (first INT, last INT, accounts INT) LANGUAGE plpgsql AS $$
DECLARE
  picked BIGINT;
BEGIN
  PERFORM setseed(0.25 + first / 1e9);
  FOR n IN first .. last LOOP
    picked := 1 + floor(random() * accounts)::bigint % accounts;
    WITH changed AS (
      UPDATE bench.account SET
        email = 'person.' || id || '.' || n || '@example.org',
        mobile = '9' || lpad((n * 7919::bigint % 1000000000)::text, 9, '0'),
        address = 'House ' || n % 977 || ', Ward ' || n % 31,
        status = (ARRAY['ACTIVE', 'PENDING', 'BLOCKED'])[1 + n % 3],
        balance = (n * 6151::bigint % 100000000) / 100.0,
        is_verified = n % 2 = 0,
        updated_at = timestamp '2025-01-01' + n * interval '1.001 seconds',
        revision = n
      WHERE id = picked
      RETURNING *
    )
    INSERT INTO bench.history SELECT * FROM changed;
    IF n % 20 = 0 THEN
      COMMIT;
    END IF;
  END LOOP;
END
$$
