-- smart_citizen: the portal's tables that a flow reads or writes. Times are without zone and mean UTC.
CREATE TABLE public.citizens (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  aadhaar_number VARCHAR(12) UNIQUE,
  mobile_number VARCHAR(10) NOT NULL,
  email VARCHAR(255),
  full_name VARCHAR(255) NOT NULL,
  full_name_hindi VARCHAR(255),
  date_of_birth DATE,
  gender VARCHAR(10),
  address_line1 TEXT,
  address_line2 TEXT,
  city VARCHAR(100),
  district VARCHAR(100),
  state VARCHAR(100) DEFAULT 'Rajasthan',
  pincode VARCHAR(6),
  status VARCHAR(20) DEFAULT 'ACTIVE',
  verification_status VARCHAR(20) DEFAULT 'PENDING',
  last_login_at TIMESTAMP,
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  created_by UUID,
  updated_by UUID
);

CREATE TABLE public.schemes (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  code VARCHAR(50) NOT NULL UNIQUE,
  name VARCHAR(255) NOT NULL,
  name_hindi VARCHAR(255),
  description TEXT,
  description_hindi TEXT,
  category VARCHAR(100),
  department VARCHAR(255),
  eligibility_criteria JSONB,
  start_date DATE,
  end_date DATE,
  status VARCHAR(20) DEFAULT 'ACTIVE',
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  benefits JSONB,
  documents_required JSONB,
  last_updated TIMESTAMP
);

CREATE TABLE public.service_applications (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  application_number VARCHAR(50) NOT NULL UNIQUE,
  citizen_id UUID NOT NULL REFERENCES public.citizens (id) ON DELETE CASCADE,
  scheme_id UUID REFERENCES public.schemes (id),
  service_type VARCHAR(100) NOT NULL,
  application_type VARCHAR(100),
  subject TEXT,
  description TEXT,
  priority VARCHAR(20) DEFAULT 'NORMAL',
  status VARCHAR(50) DEFAULT 'SUBMITTED',
  current_stage VARCHAR(100),
  submission_date TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  assigned_to_dept VARCHAR(255),
  assigned_to_officer UUID,
  expected_completion_date DATE,
  actual_completion_date TIMESTAMP,
  application_data JSONB,
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  created_by UUID,
  updated_by UUID,
  approved_at TIMESTAMP
);
CREATE INDEX ON public.service_applications (citizen_id);

CREATE TABLE public.documents (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  application_id UUID REFERENCES public.service_applications (id) ON DELETE CASCADE,
  citizen_id UUID REFERENCES public.citizens (id) ON DELETE SET NULL,
  document_type VARCHAR(100) NOT NULL,
  document_name VARCHAR(255),
  file_path TEXT NOT NULL,
  file_size BIGINT,
  mime_type VARCHAR(100),
  file_hash VARCHAR(64),
  verification_status VARCHAR(20) DEFAULT 'PENDING',
  verified_by UUID,
  verified_at TIMESTAMP,
  verification_notes TEXT,
  uploaded_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  uploaded_by UUID,
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX ON public.documents (application_id);
CREATE INDEX ON public.documents (citizen_id);

CREATE TABLE public.feedback (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  citizen_id UUID REFERENCES public.citizens (id) ON DELETE SET NULL,
  application_id UUID REFERENCES public.service_applications (id) ON DELETE SET NULL,
  type VARCHAR(50) NOT NULL,
  category VARCHAR(100),
  subject VARCHAR(255),
  message TEXT NOT NULL,
  rating INTEGER CHECK (rating BETWEEN 1 AND 5),
  status VARCHAR(20) DEFAULT 'OPEN',
  resolution TEXT,
  resolved_at TIMESTAMP,
  resolved_by UUID,
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX ON public.feedback (citizen_id);
CREATE INDEX ON public.feedback (application_id);

-- The family of each citizen. The portal fills it; the sink only reads it.
CREATE TABLE public.citizen_identity_map (
  citizen_id UUID PRIMARY KEY REFERENCES public.citizens (id) ON DELETE CASCADE,
  gr_id UUID UNIQUE,
  family_id UUID,
  warehouse_citizen_id VARCHAR(50),
  is_family_head BOOLEAN NOT NULL DEFAULT false,
  updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX ON public.citizen_identity_map (family_id);

-- These CHECKs are the last defence: they refuse an unmasked value.
CREATE TABLE public.profile_data (
  record_id UUID PRIMARY KEY,
  family_id UUID NOT NULL,
  jan_aadhaar VARCHAR(14),
  full_name VARCHAR(300),
  date_of_birth DATE,
  gender VARCHAR(10) NOT NULL DEFAULT 'UNKNOWN',
  district_id INTEGER,
  city VARCHAR(100),
  mobile_number VARCHAR(10),
  email VARCHAR(255),
  source_updated_at TIMESTAMP NOT NULL,
  synced_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  CHECK (jan_aadhaar IS NULL OR jan_aadhaar ~ '^\*{4}-\*{4}-.{4}$'),
  CHECK (mobile_number IS NULL OR mobile_number ~ '^\*{6}.{4}$'),
  CHECK (email IS NULL OR email ~ '^.?\*{3}@')
);

CREATE TABLE public.profile_summary (
  family_id UUID PRIMARY KEY,
  vulnerability VARCHAR(20),
  under_coverage BOOLEAN,
  income_category VARCHAR(20) CHECK (income_category = 'CONFIDENTIAL'),
  region VARCHAR(100),
  source_updated_at TIMESTAMP NOT NULL,
  synced_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE public.eligibility_hints (
  family_id UUID NOT NULL,
  scheme_code VARCHAR(50) NOT NULL,
  eligibility_status VARCHAR(50) NOT NULL
  CHECK (eligibility_status IN ('RULE_ELIGIBLE', 'POSSIBLE_ELIGIBLE')),
  eligibility_score NUMERIC(3, 2) NOT NULL DEFAULT 0 CHECK (eligibility_score BETWEEN 0 AND 1),
  confidence NUMERIC(3, 2) NOT NULL DEFAULT 0 CHECK (confidence BETWEEN 0 AND 1),
  explanation VARCHAR(500) NOT NULL DEFAULT 'No explanation available',
  updated_at TIMESTAMP NOT NULL,
  PRIMARY KEY (family_id, scheme_code)
);

CREATE TABLE public.benefit_forecasts (
  forecast_id INTEGER PRIMARY KEY,
  family_id UUID NOT NULL,
  horizon_months INTEGER NOT NULL CHECK (horizon_months > 0),
  total_annual_value NUMERIC(15, 2),
  scheme_count INTEGER,
  projections JSONB NOT NULL,
  generated_at TIMESTAMP NOT NULL
);
CREATE INDEX ON public.benefit_forecasts (family_id, generated_at DESC);

CREATE TABLE public.application_decisions (
  application_id UUID PRIMARY KEY REFERENCES public.service_applications (id) ON DELETE CASCADE,
  decision_status VARCHAR(50) NOT NULL,
  risk_score NUMERIC(5, 4) CHECK (risk_score BETWEEN 0 AND 1),
  confidence NUMERIC(5, 4) CHECK (confidence BETWEEN 0 AND 1),
  decision_date TIMESTAMP NOT NULL,
  decision_reasons JSONB NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(decision_reasons) = 'array')
);

CREATE TABLE public.ml_alerts (
  alert_id UUID PRIMARY KEY,
  citizen_id UUID NOT NULL REFERENCES public.citizens (id) ON DELETE CASCADE,
  alert_type VARCHAR(50) NOT NULL,
  severity VARCHAR(20) NOT NULL CHECK (severity IN ('LOW', 'MEDIUM', 'HIGH', 'CRITICAL')),
  message TEXT NOT NULL,
  action_url TEXT,
  created_at TIMESTAMP NOT NULL
);
CREATE INDEX ON public.ml_alerts (citizen_id);

CREATE TABLE public.user_behavior_events (
  event_id BIGSERIAL PRIMARY KEY,
  citizen_id UUID NOT NULL REFERENCES public.citizens (id) ON DELETE CASCADE,
  event_type VARCHAR(50) NOT NULL CHECK (event_type IN (
    'PAGE_VIEW', 'SCHEME_CLICK', 'ELIGIBILITY_CHECK', 'APPLICATION_START',
    'APPLICATION_COMPLETE', 'DOCUMENT_UPLOAD', 'SEARCH_QUERY'
  )),
  duration_seconds NUMERIC(10, 3),
  properties JSONB,
  occurred_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX ON public.user_behavior_events (occurred_at);
CREATE INDEX ON public.user_behavior_events (citizen_id);
