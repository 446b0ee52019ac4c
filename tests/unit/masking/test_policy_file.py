"""Policy files: fields that this project would interpret otherwise than Ranger are refused."""

import copy
import json
import shutil
from pathlib import Path

import pytest

from sink_runner.errors import PolicyError
from sink_runner.masking.policy import ColumnName, load_policies
from sink_runner.masking.principals import group_principal

OWN = Path(__file__).parents[3] / "ranger-policies"
KEY = "0123456789abcdef0123456789abcdef"
ITEM = {
    "accesses": [{"type": "select", "isAllowed": True}],
    "groups": ["portal"],
    "dataMaskInfo": {"dataMaskType": "MASK"},
}
HASH = {"dataMaskInfo": {"dataMaskType": "MASK_HASH"}}


def resources(**levels):
    names = {"database": "w", "schema": "public", "table": "people", "column": "jan_aadhaar"}
    return {level: {"values": [name]} for level, name in names.items()} | levels


def make_policy(number=1, item=None, **changes):
    return {
        "id": number,
        "version": 7,
        "name": f"policy {number}",
        "policyType": 1,
        "resources": resources(),
        "dataMaskPolicyItems": [ITEM | (item or {})],
    } | changes


@pytest.fixture
def directory(tmp_path):
    """A policy directory with the real service definition and one classified column."""
    shutil.copy(OWN / "servicedef-sink.json", tmp_path)
    classify(tmp_path, {"w.public.people": {"jan_aadhaar": ["ID"]}})
    return tmp_path


def classify(directory, columns, **changes):
    content = {"tags": {"ID": "what it means"}, "columns": columns} | changes
    (directory / "classification.json").write_text(json.dumps(content))


@pytest.fixture
def load(directory):
    def load(*policies, key=KEY, **changes):
        content = {"serviceName": "s", "policyVersion": 42, "policies": list(policies)} | changes
        (directory / "policies.json").write_text(json.dumps(content))
        return load_policies(directory, key)

    return load


@pytest.mark.parametrize("name", ["servicedef-sink.json", "policies.json", "classification.json"])
def test_missing_or_invalid_file_is_refused(load, directory, name):
    load(make_policy())
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


def test_missing_directory_is_refused(tmp_path):
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
        {"resources": resources(tag={"values": ["a"]})},
        {"resources": resources(column={"values": []})},
        {"resources": resources(column={"values": [""]})},
        {"resources": resources(column={"values": [1]})},
        {"resources": resources(column={"values": ["{USER}"]})},
        {"resources": resources(column={"values": ["a"], "isExcludes": 0})},
        {"resources": resources(column={"values": ["a"], "isRecursive": True})},
        {"resources": resources(column={"values": ["a"], "isExclude": True})},
        {"resources": resources(column=["a"])},
    ],
    ids=str,
)
def test_policy_that_ranger_reads_differently_is_refused(load, changes):
    with pytest.raises(PolicyError, match="policy"):
        load(make_policy() | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"accesses": []},
        {"accesses": [{"type": "write", "isAllowed": True}]},
        {"accesses": [{"type": "select", "isAllowed": False}]},
        {"accesses": [{"type": "select"}]},
        {"accesses": [{"type": "select", "isAllowed": True, "if": 1}]},
        {"accesses": [{"type": n, "isAllowed": True} for n in ("select", "write")]},
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
def test_ambiguous_mask_item_is_refused(load, changes):
    with pytest.raises(PolicyError, match=r"policy 1 \(policy 1\)"):
        load(make_policy(1, changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"serviceName": ""},
        {"policyVersion": None},
        {"policyVersion": "1"},
        {"policyVersion": True},
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
def test_file_that_ranger_reads_differently_is_refused(load, changes):
    with pytest.raises(PolicyError, match=r"policies\.json"):
        load(make_policy(), **changes)


def test_duplicate_field_is_refused(load, directory):
    """Most JSON parsers keep only the last value, so a part of the policy would be lost."""
    load(make_policy())
    path = directory / "policies.json"
    path.write_text(path.read_text().replace('"isAllowed"', '"type": "select", "isAllowed"'))
    with pytest.raises(PolicyError, match="used twice"):
        load_policies(directory, KEY)


def test_ids_and_names_are_unique(load):
    with pytest.raises(PolicyError, match="id used twice: 1"):
        load(make_policy(1), make_policy(1, name="other"))
    with pytest.raises(PolicyError, match="name used twice: same"):
        load(make_policy(1, name="same"), make_policy(2, name="same"))


def test_hash_key_is_needed_only_when_used(load):
    load(make_policy(), key="")
    hashed = make_policy(1, HASH)
    load(hashed)
    with pytest.raises(PolicyError, match=r"policy 1.*policies\.key"):
        load(hashed, key="")
    with pytest.raises(PolicyError, match="32 bytes"):
        load(hashed, key="short")


@pytest.mark.parametrize(
    "columns",
    [
        {"public.people": {"name": ["ID"]}},
        {"w.public.people": {"name": ["UNKNOWN"]}},
        {"w.public.people": {"name": []}},
        {"w.public.people": {"name": "ID"}},
        {"w.public.people": ["name"]},
        {"w.public.people": {"name": ["ID"]}, "W.public.people": {"NAME": ["ID"]}},
    ],
    ids=str,
)
def test_classification_without_column_or_tag_is_refused(load, directory, columns):
    classify(directory, columns)
    with pytest.raises(PolicyError, match=r"classification\.json"):
        load(make_policy())


def test_unknown_field_of_classification_is_refused(load, directory):
    classify(directory, {}, colums={})
    with pytest.raises(PolicyError, match="colums"):
        load(make_policy())


@pytest.mark.parametrize(
    "columns",
    [
        {"public.people": {"name": "why"}},
        {"w.public.people": {"name": ""}},
        {"w.public.people": {"name": ["ID"]}},
        {"w.public.people": ["name"]},
        {"w.public.people": {"jan_aadhaar": "classified as well"}},
        {"w.public.people": {"name": "why"}, "W.public.people": {"NAME": "twice"}},
    ],
    ids=str,
)
def test_not_personal_list_without_columns_is_refused(load, directory, columns):
    classify(directory, {"w.public.people": {"jan_aadhaar": ["ID"]}}, not_personal=columns)
    with pytest.raises(PolicyError, match=r"classification\.json"):
        load(make_policy())


def changed_definitions():
    original = json.loads((OWN / "servicedef-sink.json").read_text())
    for change in (
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
        definition = copy.deepcopy(original)
        change(definition)
        yield definition


@pytest.mark.parametrize("definition", list(changed_definitions()), ids=lambda _: "")
def test_unsupported_service_definition_is_refused(load, directory, definition):
    (directory / "servicedef-sink.json").write_text(json.dumps(definition))
    with pytest.raises(PolicyError, match=r"servicedef-sink\.json"):
        load(make_policy())


def test_unlisted_mask_type_is_refused(load, directory):
    path = directory / "servicedef-sink.json"
    definition = json.loads(path.read_text())
    kinds = definition["dataMaskDef"]["maskTypes"]
    definition["dataMaskDef"]["maskTypes"] = [kind for kind in kinds if kind["name"] != "MASK"]
    path.write_text(json.dumps(definition))
    with pytest.raises(PolicyError, match=r"policy 1.*no mask type 'MASK'"):
        load(make_policy())


def test_fields_added_by_ranger_admin_are_accepted(load, directory):
    definition = json.loads((directory / "servicedef-sink.json").read_text())
    notes = {"guid": "g", "description": "d", "isAuditEnabled": True, "createTime": 1}
    empty = {"policyItems": [], "isDenyAllElse": False, "options": {}, "zoneName": ""}
    item = {"users": [], "roles": [], "conditions": [], "delegateAdmin": True}
    policy = make_policy(1, item, isEnabled=True, policyPriority=0, **notes, **empty)
    policies = load(policy, serviceDef=definition, serviceId=1)
    assert (
        policies.decide(
            ColumnName("w", "public", "people", "jan_aadhaar"), group_principal("portal")
        ).kind
        == "MASK"
    )


def test_access_policy_without_denial_is_ignored(load):
    """Ranger Admin creates access policies for every service; masking does not use them."""
    access = {"policyType": 0, "dataMaskPolicyItems": [], "policyItems": [{"accesses": []}]}
    policies = load(make_policy(1), make_policy(2, **access))
    assert [policy.id for policy in policies.files.policies] == [1]
    for denial in ("denyPolicyItems", "denyExceptions", "validitySchedules"):
        with pytest.raises(PolicyError, match="policy 2"):
            load(make_policy(1), make_policy(2, **access, **{denial: [{}]}))
    with pytest.raises(PolicyError, match="policy 2"):
        load(make_policy(1), make_policy(2, **access, isDenyAllElse=True))


def test_definition_of_ranger_admin_may_add_fields(load, directory):
    definition = json.loads((directory / "servicedef-sink.json").read_text())
    load(make_policy(), serviceDef=definition | {"guid": "g", "createTime": 1, "version": 3})
    definition["dataMaskDef"]["maskTypes"].pop()
    with pytest.raises(PolicyError, match="differs from servicedef-sink"):
        load(make_policy(), serviceDef=definition)


def test_digest_reflects_every_change(load, directory):
    before = load(make_policy())
    assert before.version == 42
    assert load(make_policy()).digest == before.digest
    assert load(make_policy(description="x")).digest != before.digest
    classify(directory, {})
    assert load(make_policy()).digest != before.digest
