"""The shipped policies name existing columns and cover every personal one."""

import json
import re
from pathlib import Path

import pytest

from sink_runner.errors import PolicyError
from sink_runner.masking.masks import FUNCTIONS, MaskKind
from sink_runner.masking.pii_heuristics import looks_personal
from sink_runner.masking.policy import ColumnName, load_policies
from sink_runner.masking.principals import group_principal

ROOT = Path(__file__).parents[3]
DIRECTORY = ROOT / "ranger-policies"
README = (DIRECTORY / "README.md").read_text()
POLICIES = load_policies(DIRECTORY)
RULES = json.loads((DIRECTORY / "policies.json").read_text())["policies"]
CLASSIFICATION = json.loads((DIRECTORY / "classification.json").read_text())

WAREHOUSE, CITIZEN = "smart_warehouse", "smart_citizen"

# Values that must not be readable after masking.
AADHAAR, MOBILE, EMAIL = "987612341234", "9876545678", "user@example.com"


def columns_of(database):
    """Yield name and type of each column that the DDL of a database creates."""
    sql = (ROOT / "compose" / "sql" / database / "10-tables.sql").read_text()
    sql = re.sub(r"--[^\n]*", "", sql)
    for table in re.finditer(r"CREATE TABLE (?:(\w+)\.)?(\w+) \((.*?)\n?\);", sql, re.DOTALL):
        for part in split_outside_brackets(table[3]):
            word = part.split()[0].strip('"')
            if word.upper() not in {"CHECK", "UNIQUE", "PRIMARY", "FOREIGN", "CONSTRAINT"}:
                name = ColumnName(database, table[1] or "public", table[2], word)
                yield name, part.split()[1]


def split_outside_brackets(body):
    depth, part, parts = 0, "", []
    for char in body:
        depth += {"(": 1, ")": -1}.get(char, 0)
        if char == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += char
    return [part for part in [*parts, part] if part.strip()]


TYPES = {**dict(columns_of(WAREHOUSE)), **dict(columns_of(CITIZEN))}
EXISTING = set(TYPES)


def named_by_policies():
    for rule in RULES:
        levels = [rule["resources"][level]["values"] for level in ColumnName._fields]
        assert [len(values) for values in levels[:3]] == [1, 1, 1]
        for column in levels[3]:
            yield ColumnName(levels[0][0], levels[1][0], levels[2][0], column)


def classified():
    for table, columns in CLASSIFICATION["columns"].items():
        for column in columns:
            yield ColumnName(*f"{table}.{column}".split("."))


def test_ddl_is_read():
    """Otherwise the tests below would pass without checking a column."""
    assert len(EXISTING) > 150
    assert ColumnName(WAREHOUSE, "public", "golden_records", "jan_aadhaar") in EXISTING
    assert ColumnName(CITIZEN, "public", "feedback", "updated_at") in EXISTING


def test_every_column_of_policies_exists():
    assert set(named_by_policies()) <= EXISTING


def test_every_classified_column_exists():
    assert set(classified()) <= EXISTING


def test_every_column_of_policies_is_classified():
    assert set(named_by_policies()) <= set(classified())


def listed_as_not_personal():
    for table, columns in CLASSIFICATION["not_personal"].items():
        for column in columns:
            yield ColumnName(*f"{table}.{column}".split("."))


def test_every_personal_looking_column_is_classified():
    """This includes both databases; the heuristics use name and type."""
    looks = {name for name, type_ in TYPES.items() if looks_personal(name.column, type_)}
    assert len(looks) > 60
    assert looks <= set(classified()) | set(listed_as_not_personal())
    assert set(listed_as_not_personal()) <= looks
    assert not [name for name, type_ in TYPES.items() if POLICIES.undecided(name, type_)]


def test_new_column_that_looks_personal_is_undecided():
    new = ColumnName(WAREHOUSE, "public", "golden_records", "alternate_mobile")
    assert POLICIES.undecided(new, "varchar(10)")


def test_every_tag_is_used():
    used = {
        tag
        for columns in CLASSIFICATION["columns"].values()
        for tags in columns.values()
        for tag in tags
    }
    assert used == set(CLASSIFICATION["tags"])


def test_readers_are_the_two_databases():
    items = [item for rule in RULES for item in rule["dataMaskPolicyItems"]]
    assert {group for item in items for group in item["groups"]} == {WAREHOUSE, CITIZEN}


@pytest.mark.parametrize(
    ("source", "value", "masked"),
    [
        ("public.golden_records.jan_aadhaar", AADHAAR, "****-****-1234"),
        ("public.golden_records.mobile_number", MOBILE, "******5678"),
        ("public.golden_records.email", EMAIL, "u***@example.com"),
        ("public.profile_360.inferred_income_band", "LOW", "CONFIDENTIAL"),
        ("public.profile_360.inferred_income_band", None, "CONFIDENTIAL"),
        (
            "alerts.ml_alert_outbox.message",
            f"Call {MOBILE}, income VERY_LOW",
            "Call ***MASKED***, income CONFIDENTIAL",
        ),
        ("alerts.ml_alert_outbox.alert_type", "BENEFIT_EXPIRY", "BENEFIT_EXPIRY"),
        ("alerts.ml_alert_outbox.alert_type", f"Call {MOBILE}", "OTHER"),
        (
            "alerts.ml_alert_outbox.action_url",
            f"https://portal.example/benefits?mobile={MOBILE}#{EMAIL}",
            "https://portal.example/benefits",
        ),
        (
            "forecast.benefit_forecasts.projections",
            f'[{{"scheme_code":"NREGA","aadhaar":"{AADHAAR}","benefit_amount":12.50}}]',
            '[{"scheme_code":"NREGA","benefit_amount":12.50}]',
        ),
    ],
)
def test_portal_sees_masked_values_of_warehouse(source, value, masked):
    mask = POLICIES.decide_closed(
        ColumnName(WAREHOUSE, *source.split(".")), group_principal(CITIZEN)
    )
    assert mask.function(value) == masked


def test_warehouse_sees_scrubbed_text():
    mask = POLICIES.decide_closed(
        ColumnName(CITIZEN, "public", "feedback", "message"), group_principal(WAREHOUSE)
    )
    assert mask.function(f"{AADHAAR} {EMAIL} thanks") == "***MASKED*** ***MASKED*** thanks"


def test_aadhaar_is_hidden_from_portal_readers():
    mask = POLICIES.decide_closed(
        ColumnName(CITIZEN, "public", "citizens", "aadhaar_number"), group_principal(CITIZEN)
    )
    assert mask.function(AADHAAR) == "***MASKED***"


@pytest.mark.parametrize(
    ("database", "table", "columns", "group"),
    [
        (
            WAREHOUSE,
            "public.golden_records",
            "full_name date_of_birth gender city_village",
            CITIZEN,
        ),
        (WAREHOUSE, "eligibility.eligibility_snapshots", "explanation", CITIZEN),
        (WAREHOUSE, "decision.applications", "reasons", CITIZEN),
        (
            CITIZEN,
            "public.citizens",
            "aadhaar_number mobile_number email full_name date_of_birth gender city pincode",
            WAREHOUSE,
        ),
        (CITIZEN, "public.documents", "document_name", WAREHOUSE),
    ],
)
def test_unmasked_columns_have_explicit_policy(database, table, columns, group):
    for column in columns.split():
        mask = POLICIES.decide_closed(
            ColumnName(database, *table.split("."), column), group_principal(group)
        )
        assert mask.kind is MaskKind.NONE


@pytest.mark.parametrize(
    ("database", "table", "columns", "group"),
    [
        (WAREHOUSE, "public.golden_records", "age caste_id pincode citizen_id", CITIZEN),
        (
            WAREHOUSE,
            "public.profile_360",
            "profile_data risk_flags income_band_confidence",
            CITIZEN,
        ),
        (CITIZEN, "public.citizens", "address_line1 address_line2 full_name_hindi", WAREHOUSE),
        (CITIZEN, "public.documents", "file_path file_hash verification_notes", WAREHOUSE),
        (
            CITIZEN,
            "public.service_applications",
            "application_data subject description",
            WAREHOUSE,
        ),
        (CITIZEN, "public.user_behavior_events", "properties", WAREHOUSE),
        (CITIZEN, "public.feedback", "subject resolution", WAREHOUSE),
    ],
)
def test_columns_without_policy_are_refused(database, table, columns, group):
    for column in columns.split():
        with pytest.raises(PolicyError, match=column):
            POLICIES.decide_closed(
                ColumnName(database, *table.split("."), column), group_principal(group)
            )


def test_readme_lists_every_function_and_mask_type():
    for name in [*FUNCTIONS, *MaskKind]:
        assert f"`{name}" in README


def test_service_definition_lists_every_mask_type():
    definition = json.loads((DIRECTORY / "servicedef-sink.json").read_text())
    assert {kind["name"] for kind in definition["dataMaskDef"]["maskTypes"]} == set(MaskKind)


def test_example_in_readme_is_first_policy():
    example = json.loads(re.search(r"```json\n(.*?)```", README, re.DOTALL)[1])
    assert example == {name: RULES[0][name] for name in example}
