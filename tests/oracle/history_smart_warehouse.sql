CREATE TRIGGER record_history AFTER INSERT OR UPDATE OR DELETE ON public.golden_records
FOR EACH ROW EXECUTE FUNCTION history.record();
CREATE TRIGGER record_history AFTER INSERT OR UPDATE OR DELETE ON eligibility.eligibility_snapshots
FOR EACH ROW EXECUTE FUNCTION history.record();
CREATE TRIGGER record_history AFTER INSERT OR UPDATE OR DELETE ON public.profile_360
FOR EACH ROW EXECUTE FUNCTION history.record();
CREATE TRIGGER record_history AFTER INSERT OR UPDATE OR DELETE ON public.scheme_master
FOR EACH ROW EXECUTE FUNCTION history.record();
CREATE TRIGGER record_history AFTER INSERT OR UPDATE OR DELETE ON forecast.benefit_forecasts
FOR EACH ROW EXECUTE FUNCTION history.record();
CREATE TRIGGER record_history AFTER INSERT OR UPDATE OR DELETE ON decision.applications
FOR EACH ROW EXECUTE FUNCTION history.record();
CREATE TRIGGER record_history AFTER INSERT OR UPDATE OR DELETE ON alerts.ml_alert_outbox
FOR EACH ROW EXECUTE FUNCTION history.record();

INSERT INTO history.change (relation, op, new)
SELECT 'public.golden_records', 'EXISTING', to_jsonb(t) FROM public.golden_records AS t;
INSERT INTO history.change (relation, op, new)
SELECT 'eligibility.eligibility_snapshots', 'EXISTING', to_jsonb(t) FROM eligibility.eligibility_snapshots AS t;
INSERT INTO history.change (relation, op, new)
SELECT 'public.profile_360', 'EXISTING', to_jsonb(t) FROM public.profile_360 AS t;
INSERT INTO history.change (relation, op, new)
SELECT 'public.scheme_master', 'EXISTING', to_jsonb(t) FROM public.scheme_master AS t;
INSERT INTO history.change (relation, op, new)
SELECT 'forecast.benefit_forecasts', 'EXISTING', to_jsonb(t) FROM forecast.benefit_forecasts AS t;
INSERT INTO history.change (relation, op, new)
SELECT 'decision.applications', 'EXISTING', to_jsonb(t) FROM decision.applications AS t;
INSERT INTO history.change (relation, op, new)
SELECT 'alerts.ml_alert_outbox', 'EXISTING', to_jsonb(t) FROM alerts.ml_alert_outbox AS t;
