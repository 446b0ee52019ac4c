-- updated_at is the database's own: whatever a writer puts there is replaced by the time of its transaction.
CREATE FUNCTION public.set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.updated_at := pg_catalog.timezone('UTC', pg_catalog.now());
  RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION public.set_updated_at() FROM PUBLIC;
