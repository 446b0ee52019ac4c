"""Principals: a target, a caller and a person each see what the policies let them."""

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


def a_policy(number, kind, *, column="number", priority=0, **who):
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
                **who,
            }
        ],
    }


@pytest.fixture
def load(tmp_path):
    """A directory of policies; `people` is its users.json, None for none."""

    def load(*policies, people=None):
        shutil.copy(OWN / "servicedef-sink.json", tmp_path)
        tagged = {"w.public.people": {"number": ["ID"], "name": ["ID"]}}
        classification = {"tags": {"ID": "what it means"}, "columns": tagged}
        (tmp_path / "classification.json").write_text(json.dumps(classification))
        content = {"serviceName": "s", "policyVersion": 1, "policies": list(policies)}
        (tmp_path / "policies.json").write_text(json.dumps(content))
        (tmp_path / "users.json").unlink(missing_ok=True)
        if people is not None:
            (tmp_path / "users.json").write_text(json.dumps({"userGroupMapping": people}))
        return load_policies(tmp_path)

    return load


def shown_row(policies, table, row, principal):
    masks = masks_for(policies, table, row, principal)
    return {name: masks.get(name, lambda value: value)(value) for name, value in row.items()}


def test_a_person_sees_what_its_groups_see(load):
    policies = load(a_policy(1, "MASK_NULL", groups=["north"]), people={"asha": ["north", "east"]})
    assert policies.person("asha") == Principal("asha", frozenset({"north", "east"}))
    assert policies.decide(NUMBER, policies.person("asha")).kind == "MASK_NULL"
    assert policies.decide(NUMBER, policies.person("ravi")) is None


def test_a_person_is_named_by_a_policy_too(load):
    policies = load(a_policy(1, "MASK_NONE", users=["asha"]), people={})
    assert policies.decide(NUMBER, policies.person("asha")).kind == "MASK_NONE"


def test_without_a_users_file_nobody_has_a_group(load):
    assert load(a_policy(1, "MASK", groups=["north"])).person("asha").groups == frozenset()


def test_person_whose_groups_disagree_is_refused_at_load(load):
    rules = a_policy(1, "MASK", groups=["north"]), a_policy(2, "MASK_NONE", groups=["east"])
    load(*rules, people={"asha": ["north"], "ravi": ["east"]})
    with pytest.raises(PolicyError, match=r"1 \(policy 1\) and 2 .*'asha' of group 'east' and"):
        load(*rules, people={"asha": ["north", "east"]})


def test_reader_of_contradicting_groups_is_refused(load):
    """Nobody could know of it at the load, and Ranger would let the broader policy win."""
    policies = load(a_policy(1, "MASK", groups=["n"]), a_policy(2, "MASK_NONE", groups=["e"]))
    with pytest.raises(PolicyError, match="1 and 2 decide differently"):
        policies.decide(NUMBER, Principal("asha", frozenset({"n", "e"})))


def test_override_decides_for_person_of_several_groups(load):
    rules = a_policy(1, "MASK", groups=["n"], priority=1), a_policy(2, "MASK_NONE", groups=["e"])
    policies = load(*rules, people={"asha": ["n", "e"]})
    assert policies.decide(NUMBER, policies.person("asha")).policy_id == 1


@pytest.mark.parametrize(
    "people",
    [{"": ["a"]}, {"{USER}": ["a"]}, {"asha": "north"}, {"asha": [""]}, {"asha": [1]}, ["asha"]],
    ids=str,
)
def test_users_file_that_says_something_else_is_refused(load, people):
    with pytest.raises(PolicyError, match=r"users\.json"):
        load(a_policy(1, "MASK", groups=["n"]), people=people)


def test_the_digest_knows_the_people(load):
    rule = a_policy(1, "MASK", groups=["n"])
    assert load(rule, people={"asha": ["n"]}).digest != load(rule, people={}).digest


def test_row_is_shown_as_reader_may_see_it(load):
    policies = load(a_policy(1, "MASK_SHOW_LAST_4", groups=["n"]), people={"asha": ["n"]})
    row = {"number": "987612341234", "name": None, "state": "new"}
    seen = shown_row(policies, PEOPLE, row, policies.person("asha"))
    assert seen == {"number": "xxxxxxxx1234", "name": "***MASKED***", "state": "new"}


def test_a_stranger_sees_nothing_personal(load):
    """Nor a column that a policy names for others, classified or not."""
    policies = load(a_policy(1, "MASK_NONE", column="x", groups=["n"]))
    seen = shown_row(policies, PEOPLE, {"number": "1", "x": "2"}, policies.person("eve"))
    assert seen == {"number": "***MASKED***", "x": "***MASKED***"}


def test_person_whose_groups_disagree_sees_nothing_of_column(load):
    policies = load(a_policy(1, "MASK", groups=["n"]), a_policy(2, "MASK_NONE", groups=["e"]))
    principal = Principal("asha", frozenset({"n", "e"}))
    assert shown_row(policies, PEOPLE, {"number": "1"}, principal) == {"number": "***MASKED***"}
