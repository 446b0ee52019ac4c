CREATE TRIGGER record_history AFTER INSERT OR UPDATE OR DELETE ON public.citizens
FOR EACH ROW EXECUTE FUNCTION history.record();

INSERT INTO history.change (relation, op, new)
SELECT 'public.citizens', 'EXISTING', to_jsonb(t) FROM public.citizens AS t;
