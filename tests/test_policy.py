"""Policies: who sees what, as Ranger decides it, and all the ways in which a load is refused."""

import copy
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sink_runner.errors import PolicyError
from sink_runner.policy import ColumnName, load_policies
from sink_runner.policy_resource import Pattern

OWN = Path(__file__).parents[1] / "ranger-policies"
KEY = {"SINK_MASK_KEY": "0123456789abcdef0123456789abcdef"}
JAN_AADHAAR = ColumnName("w", "public", "people", "jan_aadhaar")


def an_item(kind="MASK", expression=None, **changes):
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


def a_policy(number=1, *items, over=None, **changes):
    return {
        "id": number,
        "version": 7,
        "name": f"policy {number}",
        "policyType": 1,
        "resources": over or resources(),
        "dataMaskPolicyItems": list(items or [an_item()]),
    } | changes


@pytest.fixture
def directory(tmp_path):
    """A policy directory to spoil: the service definition is the real one."""
    shutil.copy(OWN / "servicedef-sink.json", tmp_path)
    classify(tmp_path, {"w.public.people": {"jan_aadhaar": ["ID"]}})
    return tmp_path


def classify(directory, columns, tags=("ID",), **changes):
    content = {"tags": dict.fromkeys(tags, "what it means"), "columns": columns} | changes
    (directory / "classification.json").write_text(json.dumps(content))


@pytest.fixture
def load(directory):
    def load(*policies, environ=KEY, **changes):
        content = {"serviceName": "s", "policyVersion": 42, "policies": list(policies)} | changes
        (directory / "policies.json").write_text(json.dumps(content))
        return load_policies(directory, environ)

    return load


def kind_for(policies, group="portal", name=JAN_AADHAAR, **reader):
    mask = policies.mask_for(*name, group, **reader)
    return mask and str(mask.kind)


# --- decisions


def test_a_mask_knows_its_policy_and_masks(load):
    policies = load(a_policy(3, an_item("CUSTOM", "show_last({col}, 4, '****-****-')")))
    mask = policies.mask_for(*JAN_AADHAAR, "portal")
    assert (mask.kind, mask.policy_id, mask.policy_version) == ("CUSTOM", 3, 7)
    assert mask.function("987612341234") == "****-****-1234"


def test_mask_none_is_a_decision_without_function(load):
    mask = load(a_policy(1, an_item("MASK_NONE"))).mask_for(*JAN_AADHAAR, "portal")
    assert mask.kind == "MASK_NONE"
    assert mask.function is None


def test_no_policy_for_the_reader_is_no_decision(load):
    policies = load(a_policy())
    assert kind_for(policies, "warehouse") is None
    assert kind_for(policies, name=JAN_AADHAAR._replace(column="other")) is None


def test_groups_count_case_and_resources_do_not(load):
    policies = load(a_policy())
    assert kind_for(policies, "Portal") is None
    assert kind_for(policies, name=ColumnName("W", "Public", "PEOPLE", "Jan_Aadhaar")) == "MASK"


@pytest.mark.parametrize("level", ["database", "schema", "table", "column"])
def test_every_level_must_match(load, level):
    policies = load(a_policy())
    assert kind_for(policies, name=JAN_AADHAAR._replace(**{level: "else"})) is None


def test_the_first_item_that_speaks_to_the_reader_decides(load):
    policies = load(
        a_policy(
            1,
            an_item("MASK_NULL", groups=["other"]),
            an_item("MASK_NONE", groups=["portal", "other"]),
            an_item("MASK"),
        )
    )
    assert kind_for(policies) == "MASK_NONE"
    assert kind_for(policies, "other") == "MASK_NULL"


def test_public_is_everybody(load):
    assert kind_for(load(a_policy(1, an_item(groups=["public"]))), "whoever") == "MASK"


def test_a_user_is_named_as_well_as_a_group(load):
    policies = load(a_policy(1, an_item(groups=[], users=["asha"])))
    assert kind_for(policies) is None
    assert kind_for(policies, user="asha") == "MASK"


def test_a_disabled_policy_is_not_looked_at(load):
    policies = load(a_policy(1, isEnabled=False, validitySchedules=[{}]), a_policy(2, name="b"))
    assert policies.mask_for(*JAN_AADHAAR, "portal").policy_id == 2


@pytest.mark.parametrize("order", [1, -1])
def test_an_override_wins_whatever_the_order_and_breadth(load, order):
    broad = a_policy(1, an_item("MASK"), over=resources("*", "*", "*", "*"))
    narrow = a_policy(2, an_item("MASK_NONE"), policyPriority=1)
    assert kind_for(load(*[broad, narrow][::order])) == "MASK_NONE"


def test_an_override_that_does_not_speak_to_the_reader_leaves_it_to_the_next(load):
    override = a_policy(1, an_item("MASK_NONE", groups=["other"]), policyPriority=1)
    assert kind_for(load(override, a_policy(2))) == "MASK"


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
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
def test_wildcards(pattern, yes, no):
    assert all(Pattern((pattern,)).matches(name) for name in yes)
    assert not any(Pattern((pattern,)).matches(name) for name in no)


def test_excluded_names_are_all_but_these(load):
    policies = load(a_policy(over=resources(column=["id", "dist*"], not_column=True)))
    assert kind_for(policies) == "MASK"
    assert kind_for(policies, name=JAN_AADHAAR._replace(column="ID")) is None
    assert kind_for(policies, name=JAN_AADHAAR._replace(column="district")) is None


# --- ambiguity

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
def test_two_policies_that_decide_differently_on_one_column_are_refused(load, over):
    with pytest.raises(PolicyError, match=r"1 \(policy 1\) and 2 \(policy 2\).*policyPriority"):
        load(a_policy(1), a_policy(2, an_item("MASK_NONE"), over=over))


@narrower
def test_two_policies_that_decide_alike_are_not(load, over):
    assert kind_for(load(a_policy(1), a_policy(2, over=over))) == "MASK"


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
def test_policies_that_never_meet_may_differ(load, over):
    load(a_policy(1), a_policy(2, an_item("MASK_NONE"), over=over))


def test_policies_for_different_groups_may_differ(load):
    load(a_policy(1), a_policy(2, an_item("MASK_NONE", groups=["other"])))


@pytest.mark.parametrize(
    "reader", [{"groups": ["public"]}, {"groups": [], "users": ["asha"]}], ids=["public", "user"]
)
def test_a_policy_for_all_or_for_a_user_meets_that_for_a_group(load, reader):
    with pytest.raises(PolicyError, match="decide differently"):
        load(a_policy(1), a_policy(2, an_item("MASK_NONE", **reader)))


patterns = st.text("ab*?", max_size=5)


@given(left=patterns, right=patterns, name=st.text("ab", max_size=6))
def test_patterns_that_match_one_name_are_known_to_meet(left, right, name):
    one, other = Pattern((left,)), Pattern((right,))
    if one.matches(name) and other.matches(name):
        assert one.meets(other)
        assert other.meets(one)


@given(left=patterns, right=patterns, name=st.text("abc", max_size=6), data=st.data())
def test_exclusions_that_leave_one_name_are_known_to_meet(left, right, name, data):
    one = Pattern((left,), data.draw(st.booleans()))
    other = Pattern((right,), data.draw(st.booleans()))
    if one.matches(name) and other.matches(name):
        assert one.meets(other)


# --- fail closed


def test_a_classified_column_without_policy_for_its_group_is_refused(load):
    policies = load(a_policy(1, an_item(groups=["other"])))
    with pytest.raises(PolicyError) as error:
        policies.mask_for_target(*JAN_AADHAAR, "portal")
    for part in ("w.public.people.jan_aadhaar", "'portal'", "ID", "policies.json", "MASK_NONE"):
        assert part in str(error.value)


def test_classification_does_not_count_case(load):
    policies = load(a_policy(1, an_item(groups=["other"])))
    assert policies.classified("W", "Public", "People", "JAN_AADHAAR") == {"ID"}
    with pytest.raises(PolicyError):
        policies.mask_for_target("W", "Public", "People", "JAN_AADHAAR", "portal")


def test_a_column_that_a_policy_names_for_others_is_refused_though_unclassified(load, directory):
    """A misspelt group must not open the column."""
    classify(directory, {})
    policies = load(a_policy(1, an_item(groups=["portl"])))
    with pytest.raises(PolicyError, match="named by policy 1 and reaches group 'portal'"):
        policies.mask_for_target(*JAN_AADHAAR, "portal")


def test_an_explicit_mask_none_opens_a_classified_column(load):
    policies = load(a_policy(1, an_item("MASK_NONE")))
    assert policies.mask_for_target(*JAN_AADHAAR, "portal").kind == "MASK_NONE"


def test_a_column_that_nobody_names_passes(load):
    policies = load(a_policy())
    assert policies.mask_for_target("w", "public", "people", "district_id", "portal") is None
    assert policies.classified("w", "public", "people", "district_id") == frozenset()


def test_check_gives_all_masks_or_names_all_faults(load, directory):
    email, free = JAN_AADHAAR._replace(column="email"), JAN_AADHAAR._replace(column="scheme")
    classify(directory, {"w.public.people": {"jan_aadhaar": ["ID"], "email": ["ID"]}})
    policies = load(a_policy())
    assert set(policies.check([JAN_AADHAAR, free], "portal")) == {JAN_AADHAAR}
    with pytest.raises(PolicyError) as error:
        policies.check([JAN_AADHAAR, email, free], "warehouse")
    assert len(str(error.value).splitlines()) == 2
    assert str(email) in str(error.value)


# --- refusals


@pytest.mark.parametrize("name", ["servicedef-sink.json", "policies.json", "classification.json"])
def test_a_missing_unreadable_or_broken_file_is_refused(load, directory, name):
    load(a_policy())
    good = (directory / name).read_bytes()
    for content in (b"", b"{", b"[]", b"\xff", b'{"a": 1, "a": 2}', good[:-9]):
        (directory / name).write_bytes(content)
        with pytest.raises(PolicyError, match=name):
            load_policies(directory, KEY)
    (directory / name).unlink()
    with pytest.raises(PolicyError, match=name):
        load_policies(directory, KEY)
    (directory / name).mkdir()
    with pytest.raises(PolicyError, match=name):
        load_policies(directory, KEY)


def test_a_missing_directory_is_refused(tmp_path):
    with pytest.raises(PolicyError, match="nothing may be written"):
        load_policies(tmp_path / "none", KEY)


@pytest.mark.parametrize(
    "changes",
    [
        {"policyType": 0},
        {"policyType": 2},
        {"policyType": True},
        {"policyType": None},
        {"policyPriority": 2},
        {"policyPriority": True},
        {"isEnabled": "true"},
        {"isEnabled": 0},
        {"isEnabled": None},
        {"id": None},
        {"id": "1"},
        {"version": None},
        {"name": ""},
        {"service": "other"},
        {"policyItems": [{}]},
        {"denyPolicyItems": [{}]},
        {"allowExceptions": [{}]},
        {"denyExceptions": [{}]},
        {"rowFilterPolicyItems": [{}]},
        {"validitySchedules": [{"startTime": "2026/01/01 00:00:00"}]},
        {"conditions": [{}]},
        {"isDenyAllElse": True},
        {"additionalResources": [{}]},
        {"zoneName": "z"},
        {"options": {"a": 1}},
        {"dataMaskPolicyItem": []},
        {"polcyPriority": 1},
        {"dataMaskPolicyItems": []},
        {"dataMaskPolicyItems": [1]},
        {"dataMaskPolicyItems": None},
        {"resources": {}},
        {"resources": {k: v for k, v in resources().items() if k != "schema"}},
        {"resources": resources() | {"tag": {"values": ["a"]}}},
        {"resources": resources(column=[])},
        {"resources": resources(column=[""])},
        {"resources": resources(column=[1])},
        {"resources": resources(column="{USER}")},
        {"resources": resources() | {"column": {"values": ["a"], "isExcludes": 0}}},
        {"resources": resources() | {"column": {"values": ["a"], "isRecursive": True}}},
        {"resources": resources() | {"column": {"values": ["a"], "isExclude": True}}},
        {"resources": resources() | {"column": ["a"]}},
    ],
    ids=str,
)
def test_a_policy_that_means_something_else_in_ranger_is_refused_by_name(load, changes):
    with pytest.raises(PolicyError, match="policy"):
        load(a_policy() | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"accesses": []},
        {"accesses": [{"type": "write", "isAllowed": True}]},
        {"accesses": [{"type": "select", "isAllowed": False}]},
        {"accesses": [{"type": "select"}]},
        {"accesses": [{"type": "select", "isAllowed": True, "if": 1}]},
        {"groups": []},
        {"groups": "portal"},
        {"groups": ["*"]},
        {"users": ["{USER}"]},
        {"roles": ["steward"]},
        {"conditions": [{}]},
        {"group": ["portal"]},
        {"dataMaskInfo": None},
        {"dataMaskInfo": {}},
        {"dataMaskInfo": {"dataMaskType": "mask"}},
        {"dataMaskInfo": {"dataMaskType": "MASK_ALL"}},
        {"dataMaskInfo": {"dataMaskType": "CUSTOM"}},
        {"dataMaskInfo": {"dataMaskType": "CUSTOM", "valueExpr": "right({col}, 4)"}},
        {"dataMaskInfo": {"dataMaskType": "MASK", "valueExpr": "show_email({col})"}},
        {"dataMaskInfo": {"dataMaskType": "MASK", "conditionExpr": "a = 1"}},
        {"dataMaskInfo": {"dataMaskType": "MASK", "transform": "x"}},
    ],
    ids=str,
)
def test_an_item_that_would_not_mask_as_it_reads_is_refused_by_policy(load, changes):
    with pytest.raises(PolicyError, match=r"policy 1 \(policy 1\)"):
        load(a_policy(1, an_item(**changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {"serviceName": ""},
        {"policyVersion": None},
        {"policyVersion": "1"},
        {"policies": None},
        {"policies": []},
        {"policies": [1]},
        {"tagPolicies": {"policies": [1]}},
        {"policyDeltas": [1]},
        {"policy": []},
        {"serviceDef": {"name": "hive"}},
    ],
    ids=str,
)
def test_a_file_of_policies_that_means_something_else_is_refused(load, changes):
    with pytest.raises(PolicyError, match=r"policies\.json"):
        load(a_policy(), **changes)


def test_ids_and_names_are_unique(load):
    with pytest.raises(PolicyError, match="id used twice: 1"):
        load(a_policy(1), a_policy(1, name="other"))
    with pytest.raises(PolicyError, match="name used twice: same"):
        load(a_policy(1, name="same"), a_policy(2, name="same"))


def test_a_hash_needs_its_key_only_where_it_is_used(load):
    load(a_policy(), environ={})
    hashed = a_policy(1, an_item("MASK_HASH"))
    assert kind_for(load(hashed)) == "MASK_HASH"
    with pytest.raises(PolicyError, match=r"policy 1.*SINK_MASK_KEY"):
        load(hashed, environ={})
    with pytest.raises(PolicyError, match="32 bytes"):
        load(hashed, environ={"SINK_MASK_KEY": "short"})


@pytest.mark.parametrize(
    "columns",
    [
        {"public.people": {"name": ["ID"]}},
        {"w.public.people": {"name": ["NOBODY"]}},
        {"w.public.people": {"name": []}},
        {"w.public.people": {"name": "ID"}},
        {"w.public.people": ["name"]},
        {"w.public.people": {"name": ["ID"]}, "W.public.people": {"NAME": ["ID"]}},
    ],
    ids=str,
)
def test_a_classification_that_names_no_column_or_tag_is_refused(load, directory, columns):
    classify(directory, columns)
    with pytest.raises(PolicyError, match=r"classification\.json"):
        load(a_policy())


def test_an_unknown_field_of_the_classification_is_refused(load, directory):
    classify(directory, {}, colums={})
    with pytest.raises(PolicyError, match="colums"):
        load(a_policy())


def spoiled_definitions():
    good = json.loads((OWN / "servicedef-sink.json").read_text())
    for spoil in (
        lambda d: d["resources"].pop(1),
        lambda d: d["resources"][2].pop("matcherOptions"),
        lambda d: d["resources"][2]["matcherOptions"].update(ignoreCase="false"),
        lambda d: d["resources"][2].update(matcher="RangerPathResourceMatcher"),
        lambda d: d["dataMaskDef"]["resources"].reverse(),
        lambda d: d["dataMaskDef"]["resources"][0]["matcherOptions"].update(wildCard="false"),
        lambda d: d["dataMaskDef"]["maskTypes"].append({"name": "MASK_RANDOM"}),
        lambda d: d["dataMaskDef"].pop("maskTypes"),
        lambda d: d.pop("dataMaskDef"),
    ):
        definition = copy.deepcopy(good)
        spoil(definition)
        yield definition


@pytest.mark.parametrize("definition", list(spoiled_definitions()), ids=lambda _: "")
def test_a_service_definition_that_promises_something_else_is_refused(load, directory, definition):
    (directory / "servicedef-sink.json").write_text(json.dumps(definition))
    with pytest.raises(PolicyError, match=r"servicedef-sink\.json"):
        load(a_policy())


def test_a_mask_type_that_the_definition_does_not_list_is_refused(load, directory):
    path = directory / "servicedef-sink.json"
    definition = json.loads(path.read_text())
    kinds = definition["dataMaskDef"]["maskTypes"]
    definition["dataMaskDef"]["maskTypes"] = [kind for kind in kinds if kind["name"] != "MASK"]
    path.write_text(json.dumps(definition))
    with pytest.raises(PolicyError, match=r"policy 1.*no mask type 'MASK'"):
        load(a_policy())


def test_what_ranger_admin_adds_and_what_is_empty_is_accepted(load, directory):
    definition = json.loads((directory / "servicedef-sink.json").read_text())
    notes = {"guid": "g", "description": "d", "isAuditEnabled": True, "createTime": 1}
    empty = {"policyItems": [], "isDenyAllElse": False, "options": {}, "zoneName": ""}
    item = an_item(users=[], roles=[], conditions=[], delegateAdmin=True)
    policy = a_policy(1, item, isEnabled=True, policyPriority=0, **notes, **empty)
    assert kind_for(load(policy, serviceDef=definition, serviceId=1)) == "MASK"


def test_version_is_the_files_own_and_the_digest_knows_every_change(load, directory):
    before = load(a_policy())
    assert before.version == 42
    assert load(a_policy()).digest == before.digest
    assert load(a_policy(description="x")).digest != before.digest
    classify(directory, {})
    assert load(a_policy()).digest != before.digest
