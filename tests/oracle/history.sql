-- Records every change of the tables that the oracle reads. Only tests create this schema.
CREATE SCHEMA history;
-- seq is assigned while the row is locked, so the changes of one row are in commit order.
CREATE TABLE history.change (
  seq BIGSERIAL PRIMARY KEY,
  at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
  txid BIGINT NOT NULL DEFAULT txid_current(),
  writer TEXT NOT NULL DEFAULT session_user,
  relation TEXT NOT NULL,
  op TEXT NOT NULL CHECK (op IN ('EXISTING', 'INSERT', 'UPDATE', 'DELETE')),
  old JSONB,
  new JSONB
);
-- SECURITY DEFINER: the roles that write the tables need no privileges on the history.
CREATE FUNCTION history.record() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  INSERT INTO history.change (relation, op, old, new)
  VALUES (concat_ws('.', TG_TABLE_SCHEMA, TG_TABLE_NAME), TG_OP, to_jsonb(OLD), to_jsonb(NEW));
  RETURN NULL;
END
$$;
