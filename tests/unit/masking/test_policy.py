"""Policies decide as Ranger does; what is ambiguous or missing is refused."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sink_runner.errors import PolicyError
from sink_runner.masking.policy import ColumnName, load_policies
from sink_runner.masking.policy_resource import Pattern
from sink_runner.masking.principals import Principal, group_principal

OWN = Path(__file__).parents[3] / "ranger-policies"
KEY = "0123456789abcdef0123456789abcdef"
JAN_AADHAAR = ColumnName("w", "public", "people", "jan_aadhaar")
PORTAL = group_principal("portal")


def make_item(kind="MASK", expression=None, **changes):
    info = {"dataMaskType": kind} | ({"valueExpr": expression} if expression else {})
    accesses = [{"type": "select", "isAllowed": True}]
    return {"accesses": accesses, "groups": ["portal"], "dataMaskInfo": info} | changes


def resources(database="w", schema="public", table="people", column="jan_aadhaar", **excluded):
    names = {"database": database, "schema": schema, "table": table, "column": column}
    return {
        level: {"values": [value] if isinstance(value, str) else value}
        | ({"isExcludes": True} if excluded.get(f"not_{level}") else {})
        for level, value in names.items()
    }


def make_policy(number=1, *items, over=None, **changes):
    return {
        "id": number,
        "version": 7,
        "name": f"policy {number}",
        "policyType": 1,
        "resources": over or resources(),
        "dataMaskPolicyItems": list(items or [make_item()]),
    } | changes


@pytest.fixture
def directory(tmp_path):
    """A policy directory with the real service definition and one classified column."""
    shutil.copy(OWN / "servicedef-sink.json", tmp_path)
    classify(tmp_path, {"w.public.people": {"jan_aadhaar": ["ID"]}})
    return tmp_path


def classify(directory, columns, tags=("ID",), **changes):
    content = {"tags": dict.fromkeys(tags, "what it means"), "columns": columns} | changes
    (directory / "classification.json").write_text(json.dumps(content))


@pytest.fixture
def load(directory):
    def load(*policies, key=KEY, **changes):
        content = {"serviceName": "s", "policyVersion": 42, "policies": list(policies)} | changes
        (directory / "policies.json").write_text(json.dumps(content))
        return load_policies(directory, key)

    return load


def kind_for(policies, group="portal", name=JAN_AADHAAR, user=None):
    mask = policies.decide(name, Principal(user, frozenset({group})))
    return mask and str(mask.kind)


# -- decisions ---------------------------------------------------------------------------------


def test_mask_has_function_and_policy(load):
    policies = load(make_policy(3, make_item("CUSTOM", "show_last({col}, 4, '****-****-')")))
    mask = policies.decide(JAN_AADHAAR, PORTAL)
    assert (mask.kind, mask.policy_id, mask.policy_version) == ("CUSTOM", 3, 7)
    assert mask.function("987612341234") == "****-****-1234"


def test_mask_none_is_a_decision_without_function(load):
    mask = load(make_policy(1, make_item("MASK_NONE"))).decide(JAN_AADHAAR, PORTAL)
    assert mask.kind == "MASK_NONE"
    assert mask.function is None


def test_reader_without_policy_has_no_mask(load):
    policies = load(make_policy())
    assert kind_for(policies, "warehouse") is None
    assert kind_for(policies, name=JAN_AADHAAR._replace(column="other")) is None


def test_only_groups_are_case_sensitive(load):
    policies = load(make_policy())
    assert kind_for(policies, "Portal") is None
    assert kind_for(policies, name=ColumnName("W", "Public", "PEOPLE", "Jan_Aadhaar")) == "MASK"


@pytest.mark.parametrize("level", ["database", "schema", "table", "column"])
def test_every_level_must_match(load, level):
    policies = load(make_policy())
    assert kind_for(policies, name=JAN_AADHAAR._replace(**{level: "else"})) is None


def test_first_item_with_group_decides(load):
    policies = load(
        make_policy(
            1,
            make_item("MASK_NULL", groups=["other"]),
            make_item("MASK_NONE", groups=["portal", "other"]),
            make_item("MASK"),
        )
    )
    assert kind_for(policies) == "MASK_NONE"
    assert kind_for(policies, "other") == "MASK_NULL"


def test_public_includes_every_group(load):
    assert kind_for(load(make_policy(1, make_item(groups=["public"]))), "analysts") == "MASK"


def test_item_may_name_user(load):
    policies = load(make_policy(1, make_item(groups=[], users=["asha"])))
    assert kind_for(policies) is None
    assert kind_for(policies, user="asha") == "MASK"


def test_disabled_policy_is_ignored(load):
    policies = load(
        make_policy(1, isEnabled=False, validitySchedules=[{}]), make_policy(2, name="b")
    )
    assert policies.decide(JAN_AADHAAR, PORTAL).policy_id == 2


@pytest.mark.parametrize("order", [1, -1])
def test_override_wins_in_any_order(load, order):
    broad = make_policy(1, make_item("MASK"), over=resources("*", "*", "*", "*"))
    narrow = make_policy(2, make_item("MASK_NONE"), policyPriority=1)
    assert kind_for(load(*[broad, narrow][::order])) == "MASK_NONE"


def test_override_for_other_group_is_skipped(load):
    override = make_policy(1, make_item("MASK_NONE", groups=["other"]), policyPriority=1)
    assert kind_for(load(override, make_policy(2))) == "MASK"


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*", ["", "a"], []),
        ("mobile*", ["mobile", "mobile_number"], ["a_mobile"]),
        ("*name", ["name", "full_name"], ["name_hindi"]),
        ("c?x", ["c1x", "cXx"], ["cx", "c12x"]),
        ("a.c", ["a.c"], ["abc"]),
        ("[ab]", ["[ab]"], ["a"]),
        ("A_b", ["a_B"], []),
    ],
)
def test_pattern_matches_whole_name(pattern, matching, others):
    assert all(Pattern((pattern,)).matches(name) for name in matching)
    assert not any(Pattern((pattern,)).matches(name) for name in others)


def test_exclusion_matches_all_other_names(load):
    policies = load(make_policy(over=resources(column=["id", "dist*"], not_column=True)))
    assert kind_for(policies) == "MASK"
    assert kind_for(policies, name=JAN_AADHAAR._replace(column="ID")) is None
    assert kind_for(policies, name=JAN_AADHAAR._replace(column="district")) is None


# -- ambiguity ---------------------------------------------------------------------------------

narrower = pytest.mark.parametrize(
    "over",
    [
        resources(),
        resources(column="*"),
        resources(column="jan?aad*r"),
        resources(database="?", schema="p*c", table="*"),
        resources(column=["full_name"], not_column=True),
        resources(column=["full_name", "JAN_AADHAAR"]),
    ],
)


@narrower
def test_contradicting_policies_of_column_are_refused(load, over):
    with pytest.raises(PolicyError, match=r"1 \(policy 1\) and 2 \(policy 2\).*policyPriority"):
        load(make_policy(1), make_policy(2, make_item("MASK_NONE"), over=over))


@narrower
def test_equal_decisions_of_two_policies_are_accepted(load, over):
    assert kind_for(load(make_policy(1), make_policy(2, over=over))) == "MASK"


@pytest.mark.parametrize(
    "over",
    [
        resources(table="else"),
        resources(column="mobile*"),
        resources(column="jan_aadhaar?"),
        resources(column=["jan*"], not_column=True),
        resources(column=["Jan_Aadhaar"], not_column=True),
    ],
)
def test_policies_of_other_columns_may_differ(load, over):
    load(make_policy(1), make_policy(2, make_item("MASK_NONE"), over=over))


def test_policies_for_different_groups_may_differ(load):
    load(make_policy(1), make_policy(2, make_item("MASK_NONE", groups=["other"])))


@pytest.mark.parametrize(
    "reader", [{"groups": ["public"]}, {"groups": [], "users": ["asha"]}], ids=["public", "user"]
)
def test_policies_of_user_and_group_overlap(load, reader):
    with pytest.raises(PolicyError, match="decide differently"):
        load(make_policy(1), make_policy(2, make_item("MASK_NONE", **reader)))


patterns = st.text("ab*?", max_size=5)


@given(left=patterns, right=patterns, name=st.text("ab", max_size=6))
def test_overlapping_patterns_are_detected(left, right, name):
    first, second = Pattern((left,)), Pattern((right,))
    if first.matches(name) and second.matches(name):
        assert first.meets(second)
        assert second.meets(first)


@given(left=patterns, right=patterns, name=st.text("abc", max_size=6), data=st.data())
def test_overlapping_exclusions_are_detected(left, right, name, data):
    first = Pattern((left,), data.draw(st.booleans()))
    second = Pattern((right,), data.draw(st.booleans()))
    if first.matches(name) and second.matches(name):
        assert first.meets(second)


# -- fail closed -------------------------------------------------------------------------------


def test_classified_column_without_policy_is_refused(load):
    policies = load(make_policy(1, make_item(groups=["other"])))
    with pytest.raises(PolicyError) as error:
        policies.decide_closed(JAN_AADHAAR, PORTAL)
    for part in ("w.public.people.jan_aadhaar", "'portal'", "ID", "policies.json", "MASK_NONE"):
        assert part in str(error.value)


def test_classification_ignores_case(load):
    policies = load(make_policy(1, make_item(groups=["other"])))
    assert policies.classified("W", "Public", "People", "JAN_AADHAAR") == {"ID"}
    with pytest.raises(PolicyError):
        policies.decide_closed(ColumnName("W", "Public", "People", "JAN_AADHAAR"), PORTAL)


def test_column_masked_for_others_is_refused(load, directory):
    """A misspelt group must not unmask the column."""
    classify(directory, {})
    policies = load(make_policy(1, make_item(groups=["portl"])))
    with pytest.raises(PolicyError, match="named by policy 1 and reaches group 'portal'"):
        policies.decide_closed(JAN_AADHAAR, PORTAL)


def test_mask_none_permits_classified_column(load):
    policies = load(make_policy(1, make_item("MASK_NONE")))
    assert policies.decide_closed(JAN_AADHAAR, PORTAL).kind == "MASK_NONE"


def test_a_column_without_policy_passes(load):
    policies = load(make_policy())
    assert (
        policies.decide_closed(ColumnName("w", "public", "people", "district_id"), PORTAL) is None
    )
    assert policies.classified("w", "public", "people", "district_id") == frozenset()
