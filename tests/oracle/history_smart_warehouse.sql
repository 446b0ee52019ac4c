CREATE TRIGGER record_history AFTER INSERT OR UPDATE OR DELETE ON public.golden_records
FOR EACH ROW EXECUTE FUNCTION history.record();
CREATE TRIGGER record_history AFTER INSERT OR UPDATE OR DELETE ON eligibility.eligibility_snapshots
FOR EACH ROW EXECUTE FUNCTION history.record();

INSERT INTO history.change (relation, op, new)
SELECT 'public.golden_records', 'EXISTING', to_jsonb(t) FROM public.golden_records AS t;
INSERT INTO history.change (relation, op, new)
SELECT 'eligibility.eligibility_snapshots', 'EXISTING', to_jsonb(t) FROM eligibility.eligibility_snapshots AS t;
