-- A merged or inactive record is not the profile of a person.
SELECT g.gr_id, g.family_id, g.jan_aadhaar, g.full_name, g.date_of_birth, g.gender, g.district_id,
       g.city_village, g.mobile_number, g.email, p.inferred_income_band, p.vulnerability_level,
       p.under_coverage_indicator, p.cluster_id, g.updated_at
FROM public.golden_records g
LEFT JOIN public.profile_360 p ON p.gr_id = g.gr_id
WHERE g.gr_id = %(gr_id)s::uuid
  AND lower(coalesce(g.status, 'active')) NOT IN ('merged', 'inactive')
