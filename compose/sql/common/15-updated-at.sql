-- updated_at belongs to the database: a trigger replaces the writer's value by the time of the transaction.
CREATE FUNCTION public.set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.updated_at := pg_catalog.timezone('UTC', pg_catalog.now());
  RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION public.set_updated_at() FROM PUBLIC;
