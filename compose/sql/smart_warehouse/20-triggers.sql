-- "Latest wins" therefore never compares it with another system's clock (see golden_records.source_updated_at).
CREATE TRIGGER set_updated_at BEFORE UPDATE ON public.golden_records
FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
CREATE TRIGGER set_updated_at BEFORE UPDATE ON decision.applications
FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();
-- profile_360 and scheme_master have no such trigger upstream: their writers set the time.
