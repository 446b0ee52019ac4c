"""Policies decide what a principal sees by its user name and groups."""

import json
import shutil
from pathlib import Path

import pytest

from sink_runner.errors import PolicyError
from sink_runner.masking.policy import ColumnName, load_policies
from sink_runner.masking.principals import Principal
from sink_runner.masking.redaction import masks_for
from sink_runner.plugin import Table

OWN = Path(__file__).parents[3] / "ranger-policies"
PEOPLE = Table("w", "public", "people")
NUMBER = ColumnName("w", "public", "people", "number")


def make_policy(number, kind, *, column="number", priority=0, **principals):
    levels = {"database": "w", "schema": "public", "table": "people", "column": column}
    return {
        "id": number,
        "version": 3,
        "name": f"policy {number}",
        "policyType": 1,
        "policyPriority": priority,
        "resources": {level: {"values": [value]} for level, value in levels.items()},
        "dataMaskPolicyItems": [
            {
                "accesses": [{"type": "select", "isAllowed": True}],
                "dataMaskInfo": {"dataMaskType": kind},
                **principals,
            }
        ],
    }


@pytest.fixture
def load(tmp_path):
    """Return a function that loads policies; `people` is the users.json, None for no file."""

    def load(*policies, people=None):
        shutil.copy(OWN / "servicedef-sink.json", tmp_path)
        columns = {"w.public.people": {"number": ["ID"], "name": ["ID"]}}
        classification = {"tags": {"ID": "what it means"}, "columns": columns}
        (tmp_path / "classification.json").write_text(json.dumps(classification))
        content = {"serviceName": "s", "policyVersion": 1, "policies": list(policies)}
        (tmp_path / "policies.json").write_text(json.dumps(content))
        (tmp_path / "users.json").unlink(missing_ok=True)
        if people is not None:
            (tmp_path / "users.json").write_text(json.dumps({"userGroupMapping": people}))
        return load_policies(tmp_path)

    return load


def mask_row(policies, table, row, principal):
    masks = masks_for(policies, table, row, principal)
    return {name: masks.get(name, lambda value: value)(value) for name, value in row.items()}


def test_user_has_masks_of_its_groups(load):
    policies = load(
        make_policy(1, "MASK_NULL", groups=["north"]), people={"asha": ["north", "east"]}
    )
    assert policies.person("asha") == Principal("asha", frozenset({"north", "east"}))
    assert policies.decide(NUMBER, policies.person("asha")).kind == "MASK_NULL"
    assert policies.decide(NUMBER, policies.person("ravi")) is None


def test_policy_may_name_user(load):
    policies = load(make_policy(1, "MASK_NONE", users=["asha"]), people={})
    assert policies.decide(NUMBER, policies.person("asha")).kind == "MASK_NONE"


def test_user_has_no_groups_without_users_file(load):
    assert load(make_policy(1, "MASK", groups=["north"])).person("asha").groups == frozenset()


def test_contradicting_groups_of_user_refuse_loading(load):
    rules = make_policy(1, "MASK", groups=["north"]), make_policy(2, "MASK_NONE", groups=["east"])
    load(*rules, people={"asha": ["north"], "ravi": ["east"]})
    with pytest.raises(PolicyError, match=r"1 \(policy 1\) and 2 .*'asha' of group 'east' and"):
        load(*rules, people={"asha": ["north", "east"]})


def test_reader_of_contradicting_groups_is_refused(load):
    """The groups are not known when policies are loaded; Ranger would prefer the broader policy."""
    policies = load(make_policy(1, "MASK", groups=["n"]), make_policy(2, "MASK_NONE", groups=["e"]))
    with pytest.raises(PolicyError, match="1 and 2 decide differently"):
        policies.decide(NUMBER, Principal("asha", frozenset({"n", "e"})))


def test_override_decides_for_user_of_several_groups(load):
    rules = (
        make_policy(1, "MASK", groups=["n"], priority=1),
        make_policy(2, "MASK_NONE", groups=["e"]),
    )
    policies = load(*rules, people={"asha": ["n", "e"]})
    assert policies.decide(NUMBER, policies.person("asha")).policy_id == 1


@pytest.mark.parametrize(
    "people",
    [{"": ["a"]}, {"{USER}": ["a"]}, {"asha": "north"}, {"asha": [""]}, {"asha": [1]}, ["asha"]],
    ids=str,
)
def test_invalid_users_file_is_refused(load, people):
    with pytest.raises(PolicyError, match=r"users\.json"):
        load(make_policy(1, "MASK", groups=["n"]), people=people)


def test_digest_includes_users_file(load):
    rule = make_policy(1, "MASK", groups=["n"])
    assert load(rule, people={"asha": ["n"]}).digest != load(rule, people={}).digest


def test_row_is_masked_for_reader(load):
    policies = load(make_policy(1, "MASK_SHOW_LAST_4", groups=["n"]), people={"asha": ["n"]})
    row = {"number": "987612341234", "name": None, "state": "new"}
    masked = mask_row(policies, PEOPLE, row, policies.person("asha"))
    assert masked == {"number": "xxxxxxxx1234", "name": "***MASKED***", "state": "new"}


def test_unknown_user_sees_no_personal_column(load):
    """A column that a policy names for others is masked as well, classified or not."""
    policies = load(make_policy(1, "MASK_NONE", column="x", groups=["n"]))
    masked = mask_row(policies, PEOPLE, {"number": "1", "x": "2"}, policies.person("eve"))
    assert masked == {"number": "***MASKED***", "x": "***MASKED***"}


def test_contradicting_groups_mask_column_completely(load):
    policies = load(make_policy(1, "MASK", groups=["n"]), make_policy(2, "MASK_NONE", groups=["e"]))
    principal = Principal("asha", frozenset({"n", "e"}))
    assert mask_row(policies, PEOPLE, {"number": "1"}, principal) == {"number": "***MASKED***"}
