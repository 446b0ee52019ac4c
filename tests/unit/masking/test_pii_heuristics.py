"""Columns that look personal by name and type, and others."""

import pytest

from sink_runner.masking.pii_heuristics import looks_personal


@pytest.mark.parametrize(
    "column",
    [
        "jan_aadhaar",
        "aadhar_no",
        "AadhaarNumber",
        "mobileNumber",
        "alt_phone",
        "e_mail",
        "work_email2",
        "name",
        "full_name",
        "father_name",
        "citizen_name",
        "dob",
        "date_of_birth",
        "gender",
        "caste_id",
        "address_line1",
        "city_village",
        "pincode",
        "annual_income",
        "bank_account",
        "IFSC",
        "pan_no",
        "citizen_id",
        "comment",
        "verification_notes",
        "application_data",
        # spellings that are common in the region
        "adhaar",
        "adhar_no",
        "aadharno",
        "janadhar_no",
        "bhamashah_id",
        "fullname",
        "firstname",
        "lastname",
        "fathername",
        "fathers_nm",
        "mothers_name",
        "nameofapplicant",
        "name_hi",
        "name_en",
        "username",
        "mobno",
        "mob_no",
        "ph_no",
        "contactno",
        "MOBNO",
        "panno",
        "voterid",
        "rationcard_no",
        "accountno",
        "acno",
        "uid",
        "uid_no",
        "nominees",
        "मोबाइल",
        "आधार_संख्या",
        "col_नाम",
    ],
)
def test_column_with_personal_name_looks_personal(column):
    assert looks_personal(column, "character varying(50)")


@pytest.mark.parametrize(
    ("column", "type_"),
    [
        ("id", "uuid"),
        ("scheme_name", "varchar(50)"),
        ("district_name", "varchar(50)"),
        ("scheme_code", "varchar(50)"),
        ("status", "varchar(50)"),
        ("updated_at", "timestamp without time zone"),
        ("company", "varchar(50)"),  # contains "pan", but not as a word
        ("page_count", "integer"),  # contains "age"
        ("package", "varchar(50)"),
        ("family_id", "uuid"),
        ("citizen_id", "uuid"),  # a surrogate
        ("comment", "integer"),  # a number cannot contain a comment
        ("email_verified", "boolean"),
        ("risk_score", "numeric"),
        ("scheme_count", "integer"),
        ("uid", "uuid"),
        ("scheme_name_en", "varchar(50)"),  # the name of a thing, in English
        ("schemename", "varchar(50)"),
        ("fileno", "varchar(50)"),
        ("casino", "varchar(50)"),
        ("acid", "varchar(50)"),  # not an account
        ("radar_no", "varchar(50)"),
        ("cell_count", "integer"),
        ("vehicle_type", "varchar(50)"),
        ("document_type", "varchar(50)"),
        ("batch_number", "varchar(50)"),
        ("pinned", "boolean"),
        ("national_holiday", "boolean"),
    ],
)
def test_other_columns_do_not_look_personal(column, type_):
    assert not looks_personal(column, type_)


KINDS = """
samagra_id abha_number pmjay_id nrega_card kyc_ref metadata attributes old_value annual_inc
social_category divyang tehsil latlng newValues householdInc action_url callbackUri
jati dharm bpl_no pm_kisan_id ayushman_no esic_no pf_number national_id tax_id gov_id id_proof
id_number identity_no driving_licence licence_no vehicle_no rc_number certificate_no document_no
landline gmail selfie imei imsi device_id vpa gstin pin_code zipcode geohash gali mohalla
monthly_earnings pension_amt hiv pregnancy khasra khata_no domicile parivar_id hof_name
before_image row_before prev_value raw_event headers context custom_fields misc answers
survey_response
"""
UNBOUNDED = """
text TEXT text[] _text citext json jsonb JSONB xml hstore varchar VARCHAR varchar[]
"""


@pytest.mark.parametrize("column", KINDS.split())
def test_further_kinds_of_columns_look_personal(column):
    assert looks_personal(column, "character varying(50)")


@pytest.mark.parametrize("type_", [*UNBOUNDED.split(), "character varying", "character varying[]"])
def test_type_without_length_limit_looks_personal(type_):
    assert looks_personal("kind", type_)


@pytest.mark.parametrize(
    "type_", ["varchar(20)", "character varying(20)", "char(3)", "string", "integer", "date", ""]
)
def test_type_with_length_limit_does_not(type_):
    assert not looks_personal("kind", type_)
