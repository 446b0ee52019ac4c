-- smart_warehouse: the columns that a flow reads or writes, plus keys. Times are without zone and mean UTC.
CREATE SCHEMA eligibility;
CREATE SCHEMA decision;
CREATE SCHEMA forecast;
CREATE SCHEMA analytics;
CREATE SCHEMA alerts;

CREATE TABLE public.districts (
  district_id SERIAL PRIMARY KEY,
  district_code VARCHAR(10) NOT NULL UNIQUE,
  district_name VARCHAR(100) NOT NULL, -- not unique: one district stands there twice
  is_urban BOOLEAN DEFAULT false
);

-- Spelling variants, normalised to lower case and single blanks.
CREATE TABLE public.district_alias (
  alias_norm VARCHAR(100) PRIMARY KEY,
  district_id INTEGER NOT NULL REFERENCES public.districts (district_id)
);

CREATE TABLE public.golden_records (
  gr_id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  family_id UUID REFERENCES public.golden_records (gr_id) ON DELETE SET NULL, -- the head's gr_id; NULL on heads
  citizen_id VARCHAR(50) UNIQUE,
  jan_aadhaar VARCHAR(12) UNIQUE,
  full_name VARCHAR(300),
  date_of_birth DATE,
  age INTEGER,
  gender VARCHAR(10),
  caste_id INTEGER,
  district_id INTEGER, -- no foreign key upstream
  city_village VARCHAR(100),
  pincode VARCHAR(6),
  is_urban BOOLEAN DEFAULT false,
  status VARCHAR(20) DEFAULT 'active', -- active, inactive, merged
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, -- a trigger overwrites it
  mobile_number VARCHAR(10),
  email VARCHAR(255),
  updated_by VARCHAR(100),
  review_required BOOLEAN NOT NULL DEFAULT false,
  review_reason TEXT,
  source_updated_at TIMESTAMP -- the portal's time, kept safe from the trigger
);
CREATE INDEX ON public.golden_records (family_id);
CREATE INDEX ON public.golden_records (updated_at);

CREATE TABLE public.profile_360 (
  profile_id BIGSERIAL PRIMARY KEY,
  gr_id UUID NOT NULL UNIQUE REFERENCES public.golden_records (gr_id) ON DELETE CASCADE,
  family_id UUID,
  profile_data JSONB NOT NULL, -- never synced
  inferred_income_band VARCHAR(20),
  income_band_confidence NUMERIC(5, 4),
  cluster_id VARCHAR(100),
  cluster_type VARCHAR(50),
  risk_flags TEXT [],
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  last_recomputed_at TIMESTAMP,
  vulnerability_level VARCHAR(20),
  under_coverage_indicator BOOLEAN
);
CREATE INDEX ON public.profile_360 (family_id);
CREATE INDEX ON public.profile_360 (updated_at);

CREATE TABLE public.scheme_master (
  scheme_id SERIAL PRIMARY KEY,
  scheme_code VARCHAR(50) NOT NULL UNIQUE,
  scheme_name VARCHAR(255) NOT NULL,
  category VARCHAR(50) NOT NULL,
  description TEXT,
  min_age INTEGER,
  max_age INTEGER,
  max_income NUMERIC(12, 2),
  target_caste VARCHAR(50),
  bpl_required BOOLEAN DEFAULT false,
  farmer_required BOOLEAN DEFAULT false,
  is_auto_id_enabled BOOLEAN DEFAULT true,
  scheme_type VARCHAR(20), -- CASH, NON_CASH
  status VARCHAR(20) DEFAULT 'active', -- active, inactive, archived
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  department_name VARCHAR(255),
  eligibility_criteria_json JSONB,
  benefits_json JSONB,
  documents_required_json JSONB
);
-- The specification's name. Logical decoding does not see views: capture takes the table.
CREATE VIEW eligibility.scheme_master AS SELECT * FROM public.scheme_master;

CREATE TABLE eligibility.eligibility_snapshots (
  snapshot_id SERIAL PRIMARY KEY,
  family_id UUID NOT NULL,
  member_id UUID, -- NULL: the whole family
  scheme_code VARCHAR(50) NOT NULL REFERENCES public.scheme_master (scheme_code) ON DELETE CASCADE,
  evaluation_status VARCHAR(50) NOT NULL, -- RULE_ELIGIBLE, POSSIBLE_ELIGIBLE, NOT_ELIGIBLE, UNCERTAIN, ERROR
  eligibility_score NUMERIC(5, 4),
  confidence_score NUMERIC(5, 4),
  priority_score NUMERIC(10, 4),
  vulnerability_level VARCHAR(20),
  under_coverage_indicator BOOLEAN,
  explanation TEXT,
  evaluation_timestamp TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  evaluation_type VARCHAR(20),
  evaluation_version INTEGER DEFAULT 1,
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  UNIQUE (family_id, member_id, scheme_code, evaluation_timestamp, evaluation_version) -- a NULL member defeats it
);
CREATE INDEX ON eligibility.eligibility_snapshots (evaluation_timestamp);

CREATE TABLE forecast.benefit_forecasts (
  forecast_id INTEGER PRIMARY KEY,
  family_id UUID NOT NULL,
  horizon_months INTEGER NOT NULL DEFAULT 12 CHECK (horizon_months > 0),
  total_annual_value NUMERIC(15, 2) CHECK (total_annual_value >= 0),
  scheme_count INTEGER DEFAULT 0 CHECK (scheme_count >= 0),
  projections JSONB NOT NULL DEFAULT '[]',
  generated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX ON forecast.benefit_forecasts (family_id, generated_at);

CREATE TABLE decision.applications (
  application_id UUID PRIMARY KEY, -- service_applications.id of the portal
  application_number VARCHAR(100),
  family_id UUID,
  scheme_code VARCHAR(50) REFERENCES public.scheme_master (scheme_code),
  decision VARCHAR(50) NOT NULL CHECK (decision IN (
    'AUTO_APPROVED', 'AUTO_APPROVE', 'AUTO_REJECTED', 'AUTO_REJECT',
    'ROUTE_TO_OFFICER', 'ROUTE_TO_FRAUD', 'OFFICER_APPROVED', 'OFFICER_REJECTED'
  )), -- both spellings exist upstream
  risk_score NUMERIC(5, 4) CHECK (risk_score BETWEEN 0 AND 1),
  confidence NUMERIC(5, 4) CHECK (confidence BETWEEN 0 AND 1),
  reasons JSONB NOT NULL DEFAULT '[]',
  decision_timestamp TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE decision.application_events (
  event_id BIGSERIAL PRIMARY KEY,
  application_id UUID NOT NULL,
  citizen_id VARCHAR(50),
  scheme_code VARCHAR(50) REFERENCES public.scheme_master (scheme_code),
  event_type VARCHAR(50) NOT NULL CHECK (event_type IN (
    'APPLICATION_SUBMITTED', 'APPLICATION_APPROVED', 'APPLICATION_REJECTED',
    'APPLICATION_WITHDRAWN', 'APPLICATION_STATUS_UPDATED'
  )),
  event_timestamp TIMESTAMP NOT NULL,
  approval_timestamp TIMESTAMP,
  CHECK (approval_timestamp IS NULL OR event_type = 'APPLICATION_APPROVED'),
  UNIQUE (application_id, event_type, event_timestamp)
);

CREATE TABLE public.document_metadata (
  document_id UUID PRIMARY KEY,
  citizen_id VARCHAR(50),
  document_type VARCHAR(100) NOT NULL,
  file_name VARCHAR(255),
  file_size BIGINT CHECK (file_size >= 0),
  uploaded_at TIMESTAMP NOT NULL,
  verification_status VARCHAR(20)
  CHECK (upper(verification_status) IN ('PENDING', 'VERIFIED', 'REJECTED', 'EXPIRED')),
  is_deleted BOOLEAN NOT NULL DEFAULT false,
  synced_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE analytics.user_behavior (
  citizen_id VARCHAR(50) NOT NULL,
  event_type VARCHAR(50) NOT NULL,
  event_date DATE NOT NULL,
  event_count INTEGER NOT NULL CHECK (event_count > 0),
  total_duration_seconds NUMERIC(12, 3) DEFAULT 0,
  first_event_at TIMESTAMP NOT NULL,
  last_event_at TIMESTAMP NOT NULL,
  CHECK (last_event_at >= first_event_at),
  PRIMARY KEY (citizen_id, event_type, event_date)
);

CREATE TABLE analytics.feedback_analytics (
  feedback_id UUID PRIMARY KEY,
  citizen_id VARCHAR(50),
  feedback_type VARCHAR(50) NOT NULL,
  rating INTEGER CHECK (rating BETWEEN 1 AND 5),
  comment TEXT,
  scheme_code VARCHAR(50),
  created_at TIMESTAMP NOT NULL,
  synced_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

-- One captured source for every model that raises alerts.
CREATE TABLE alerts.ml_alert_outbox (
  alert_id UUID PRIMARY KEY,
  family_id UUID NOT NULL,
  alert_type VARCHAR(50) NOT NULL,
  severity VARCHAR(20) NOT NULL CHECK (severity IN ('LOW', 'MEDIUM', 'HIGH', 'CRITICAL')),
  message TEXT NOT NULL,
  action_url TEXT,
  source_use_case VARCHAR(20),
  created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);
