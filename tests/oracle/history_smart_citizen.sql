CREATE TRIGGER record_history AFTER INSERT OR UPDATE OR DELETE ON public.citizens
FOR EACH ROW EXECUTE FUNCTION history.record();
CREATE TRIGGER record_history AFTER INSERT OR UPDATE OR DELETE ON public.citizen_identity_map
FOR EACH ROW EXECUTE FUNCTION history.record();
CREATE TRIGGER record_history AFTER INSERT OR UPDATE OR DELETE ON public.schemes
FOR EACH ROW EXECUTE FUNCTION history.record();
CREATE TRIGGER record_history AFTER INSERT OR UPDATE OR DELETE ON public.service_applications
FOR EACH ROW EXECUTE FUNCTION history.record();
CREATE TRIGGER record_history AFTER INSERT OR UPDATE OR DELETE ON public.documents
FOR EACH ROW EXECUTE FUNCTION history.record();
CREATE TRIGGER record_history AFTER INSERT OR UPDATE OR DELETE ON public.feedback
FOR EACH ROW EXECUTE FUNCTION history.record();

INSERT INTO history.change (relation, op, new)
SELECT 'public.citizens', 'EXISTING', to_jsonb(t) FROM public.citizens AS t;
INSERT INTO history.change (relation, op, new)
SELECT 'public.citizen_identity_map', 'EXISTING', to_jsonb(t) FROM public.citizen_identity_map AS t;
INSERT INTO history.change (relation, op, new)
SELECT 'public.schemes', 'EXISTING', to_jsonb(t) FROM public.schemes AS t;
INSERT INTO history.change (relation, op, new)
SELECT 'public.service_applications', 'EXISTING', to_jsonb(t) FROM public.service_applications AS t;
INSERT INTO history.change (relation, op, new)
SELECT 'public.documents', 'EXISTING', to_jsonb(t) FROM public.documents AS t;
INSERT INTO history.change (relation, op, new)
SELECT 'public.feedback', 'EXISTING', to_jsonb(t) FROM public.feedback AS t;
