CREATE TRIGGER set_updated_at BEFORE UPDATE ON public.citizens
FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
CREATE TRIGGER set_updated_at BEFORE UPDATE ON public.service_applications
FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
CREATE TRIGGER set_updated_at BEFORE UPDATE ON public.documents
FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
CREATE TRIGGER set_updated_at BEFORE UPDATE ON public.feedback
FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();

-- A row without a number gets APP-YYYYMMDD-nnnnnn. The sequence does not wrap: after 999999 it has seven digits.
CREATE SEQUENCE public.application_number_seq;
CREATE FUNCTION public.set_application_number() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  serial text := pg_catalog.nextval('public.application_number_seq')::text;
BEGIN
  NEW.application_number := pg_catalog.concat(
    'APP-', pg_catalog.to_char(pg_catalog.timezone('UTC', pg_catalog.now()), 'YYYYMMDD'), '-',
    pg_catalog.lpad(serial, greatest(6, pg_catalog.length(serial)), '0'));
  RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION public.set_application_number() FROM PUBLIC;
CREATE TRIGGER set_application_number BEFORE INSERT ON public.service_applications
FOR EACH ROW WHEN (NEW.application_number IS NULL OR NEW.application_number = '')
EXECUTE FUNCTION public.set_application_number();
