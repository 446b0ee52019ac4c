-- What operators want of each mapping, what each runner says of it, and what was requested of it.

-- No row: the mapping is to run.
CREATE TABLE sink.mapping_control (
  mapping    text        PRIMARY KEY,
  desired    text        NOT NULL CHECK (desired IN ('running', 'paused')),
  reason     text        NOT NULL,
  changed_by text        NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT now()
);

-- Written by each runner every few seconds: a runner whose rows are a minute old is gone.
CREATE TABLE sink.mapping_status (
  mapping           text        NOT NULL,
  runner            text        NOT NULL,   -- host:process
  state             text        NOT NULL,
  reason            text        NOT NULL,
  way_out           text        NOT NULL,   -- what an operator can do
  next_try          timestamptz,
  lag_events        bigint,
  lag_seconds       float8,
  last_event_at     timestamptz,            -- when the runner last wrote a batch
  applied_commit_at timestamptz,            -- when the source committed the last event of it
  versions          jsonb       NOT NULL DEFAULT '{}',
  seen_at           timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (mapping, runner)
) WITH (fillfactor = 50);                   -- so that updates need no new index entries

CREATE TABLE sink.control_request (
  request      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  mapping      text        NOT NULL,        -- '' for all
  kind         text        NOT NULL,        -- replay, resync, reload
  arguments    jsonb       NOT NULL DEFAULT '{}',
  requested_by text        NOT NULL,
  requested_at timestamptz NOT NULL DEFAULT now(),
  taken_by     text,
  taken_at     timestamptz,
  finished_at  timestamptz,
  outcome      text,
  detail       text
);
CREATE INDEX control_request_open ON sink.control_request (kind) WHERE finished_at IS NULL;
