"""What looks personal by its name and type, and what does not."""

import pytest

from sink_runner.masking.personal import looks_personal


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
        # as those spell who name columns here
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
def test_a_personal_name_looks_personal(column):
    assert looks_personal(column, "character varying(50)")


@pytest.mark.parametrize(
    ("column", "type_"),
    [
        ("id", "uuid"),
        ("scheme_name", "text"),
        ("district_name", "text"),
        ("scheme_code", "text"),
        ("status", "text"),
        ("updated_at", "timestamp without time zone"),
        ("company", "text"),  # holds "pan", but not as a word
        ("page_count", "integer"),  # holds "age"
        ("package", "text"),
        ("family_id", "uuid"),
        ("citizen_id", "uuid"),  # a surrogate
        ("comment", "integer"),  # no text, so nothing can stand in it
        ("email_verified", "boolean"),
        ("risk_score", "numeric"),
        ("scheme_count", "integer"),
        ("uid", "uuid"),
        ("scheme_name_en", "text"),  # a thing's, in a language
        ("schemename", "text"),
        ("fileno", "text"),
        ("casino", "text"),
        ("acid", "text"),  # no account
        ("radar_no", "text"),
        ("cell_count", "integer"),
    ],
)
def test_other_columns_do_not(column, type_):
    assert not looks_personal(column, type_)
