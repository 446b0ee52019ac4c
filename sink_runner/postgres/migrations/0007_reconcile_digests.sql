-- Ranges of each mapping's keys that were found equal, by the digests of both sides: as long as
-- both have them, the rows need not be compared again.
CREATE TABLE sink.reconcile_digest (
  mapping       text        NOT NULL,
  place         int         NOT NULL,   -- in the order of the key; a range begins after the one before
  version       text        NOT NULL,   -- of the mapping, its columns, plugins and policies
  last_key      text[],                 -- encrypted where the key is personal; NULL: no upper bound
  rows          bigint      NOT NULL,
  source_digest text,                   -- NULL: the range was not equal
  target_digest text,
  equal_at      timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (mapping, place)
);
