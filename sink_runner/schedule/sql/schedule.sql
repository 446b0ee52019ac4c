-- How far each schedule of the mappings that write to this database has come, and its last run.
CREATE TABLE IF NOT EXISTS sink.schedule (
  mapping    text        NOT NULL,
  mode       text        NOT NULL,
  cron       text        NOT NULL,
  done_until timestamptz NOT NULL,  -- every time that is not later has been dealt with
  due        timestamptz,
  failures   int         NOT NULL DEFAULT 0,
  started_at timestamptz,
  ended_at   timestamptz,
  outcome    text,
  PRIMARY KEY (mapping, mode, cron)
);
