-- Answers to requests that carried an Idempotency-Key: keyed hashes, nothing of what was sent.
CREATE TABLE IF NOT EXISTS sink.api_request (
  request    bytea       PRIMARY KEY,  -- of caller, operation and key
  content    bytea       NOT NULL,     -- of the body
  places     jsonb,                    -- [[partition, offset], ...]; NULL: not answered yet
  claimed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS api_request_claimed_at ON sink.api_request (claimed_at);
