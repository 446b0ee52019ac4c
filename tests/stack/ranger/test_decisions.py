"""The runner's decisions equal those of Apache Ranger's engine, except where it refuses."""

import json
import re
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from sink_runner.errors import PolicyError
from sink_runner.masking.policy import ColumnName, Policies, load_policies
from sink_runner.masking.principals import Principal

from .cases import DEFINITION, LEVELS, OWN, common_column_suites, policy_sets, requests
from .engine import Decision, Ranger, Request, Suite

pytestmark = pytest.mark.ranger

SEED = 20260802
CASES = 1_000
REFUSED = 100
KEY = "0123456789abcdef0123456789abcdef"
AMBIGUOUS = re.compile(r"policies (\d+) .* and (\d+) .* decide differently")


@pytest.fixture
def read(tmp_path):
    """Return a function that loads a set of policies with the runner's own reader."""
    (tmp_path / "servicedef-sink.json").write_text(json.dumps(DEFINITION))
    (tmp_path / "classification.json").write_text('{"tags": {}, "columns": {}}')

    def read(policies) -> Policies:
        (tmp_path / "policies.json").write_text(json.dumps(policies))
        return load_policies(tmp_path, KEY)

    return read


def own_decision(policies: Policies, request: Request) -> Decision:
    mask = policies.decide(ColumnName(*request.resource), Principal(request.user, request.groups))
    if mask is None:
        return Decision()
    return Decision(mask.kind.value, mask.expression, mask.policy_id, mask.policy_version)


def test_random_decisions_equal_ranger_decisions(ranger: Ranger, read, tmp_path):
    """Mask, expression, policy and version are equal for each principal and column.

    One difference is intended: if two policies decide differently for the groups of a user, Ranger
    takes the broader one and the runner refuses. Ranger's policy is one of those two.
    """
    suites, own, refused = [], [], Counter()
    for policies in policy_sets(SEED):
        try:
            found = read(policies)
        except PolicyError:
            continue
        suite = Suite(policies, requests(policies, len(suites)))
        suites.append(suite)
        own.append(found)
        if sum(len(suite.requests) for suite in suites) >= CASES + 100:
            break
    ranger_decisions = ranger.decide(suites, tmp_path)
    kinds: Counter[str | None] = Counter()
    for suite, loaded, answers in zip(suites, own, ranger_decisions, strict=True):
        for request, answer in zip(suite.requests, answers, strict=True):
            try:
                assert own_decision(loaded, request) == answer, (
                    request,
                    suite.policies["policies"],
                )
            except PolicyError as error:
                between = re.findall(r"policies (\d+) and (\d+)", str(error))[0]
                assert len(request.groups) + (request.user is not None) > 1
                assert str(answer.policy_id) in between
                refused["refused"] += 1
            else:
                kinds[answer.kind] += 1
    assert sum(kinds.values()) >= CASES
    assert refused["refused"] < CASES / 20
    assert set(kinds) == {None, *(kind["name"] for kind in DEFINITION["dataMaskDef"]["maskTypes"])}
    assert sum(count for kind, count in kinds.items() if kind) > CASES / 4


def refused_pairs(read) -> tuple[list[list[Suite]], int]:
    """Return refused pairs of policies, and the number of pairs without a common column."""
    pairs, unresolved = [], 0
    for policies in policy_sets(SEED + 1):
        try:
            read(policies)
        except PolicyError as error:
            one, other = AMBIGUOUS.findall(str(error))[0]
            suites = common_column_suites(policies, [int(one), int(other)])
            unresolved += not suites
            pairs += [suites] if suites else []
        if len(pairs) == REFUSED:
            break
    return pairs, unresolved


def test_refused_policies_are_ambiguous_for_ranger(ranger: Ranger, read, tmp_path):
    """Each of the two policies alone leads Ranger to another decision for some principal.

    A few pairs stay unresolved: they match only longer names than those tried, or the names that
    they exclude may leave none.
    """
    pairs, unresolved = refused_pairs(read)
    assert unresolved < REFUSED / 20
    answers = iter(ranger.decide([suite for pair in pairs for suite in pair], tmp_path))
    for pair in pairs:
        both = zip(next(answers), next(answers), strict=True)
        assert any(
            one.kind and other.kind and (one.kind, one.expression) != (other.kind, other.expression)
            for one, other in both
        ), [suite.policies["policies"] for suite in pair]


def repository_policies() -> dict:
    policies = json.loads((OWN / "policies.json").read_text())
    return {"serviceDef": DEFINITION, **policies}


def catalog() -> list[ColumnName]:
    """Return every column that the DDL of both databases creates."""
    found = []
    for database in ("smart_warehouse", "smart_citizen"):
        path = Path(__file__).parents[3] / "compose" / "sql" / database / "10-tables.sql"
        sql = re.sub(r"--[^\n]*", "", path.read_text())
        for table in re.finditer(r"CREATE TABLE (?:(\w+)\.)?(\w+) \((.*?)\n?\);", sql, re.DOTALL):
            body = re.sub(r"\([^()]*\)", "", re.sub(r"\([^()]*\)", "", table[3]))
            words = [part.split()[0].strip('"') for part in body.split(",") if part.strip()]
            columns = [word for word in words if not word.isupper()]
            found += [
                ColumnName(database, table[1] or "public", table[2], column) for column in columns
            ]
    return found


def test_repository_policies_decide_as_ranger(ranger, tmp_path):
    policies = load_policies(OWN)
    users = policies.files.people
    principals = [
        Principal(groups=frozenset({g})) for g in ("smart_citizen", "smart_warehouse", "else")
    ]
    principals += [Principal(user, groups) for user, groups in users.items()]
    columns = catalog()
    assert len(columns) > 180
    requests_ = [
        Request(tuple(name), one.user, one.groups) for name in columns for one in principals
    ]
    (ranger_decisions,) = ranger.decide([Suite(repository_policies(), requests_)], tmp_path)
    assert [own_decision(policies, request) for request in requests_] == ranger_decisions
    assert sum(answer.kind is not None for answer in ranger_decisions) > 40


# -- intended differences: Ranger decides, and the runner refuses to start -------------------------


def one_policy(**changes) -> dict:
    policies = next(islice(policy_sets(SEED), 1))
    levels = dict(zip(LEVELS, ("w", "public", "people", "aa"), strict=True))
    policy = {
        **policies["policies"][0],
        "isEnabled": True,
        "resources": {level: {"values": [name]} for level, name in levels.items()},
        "dataMaskPolicyItems": [mask_item("MASK_NULL")],
    }
    return {**policies, "policies": [policy | changes]}


COLUMN = ("w", "public", "people", "aa")
NORTH = Request(COLUMN, groups=frozenset({"north"}))


def mask_item(kind: str, **changes) -> dict:
    item = {"accesses": [{"type": "select", "isAllowed": True}], "groups": ["north"]}
    return item | {"dataMaskInfo": {"dataMaskType": kind}} | changes


def test_unknown_mask_type_is_refused(ranger, read, tmp_path):
    """Ranger returns the type without an expression, and Hive then shows the value unmasked."""
    policies = one_policy(dataMaskPolicyItems=[mask_item("MASK_RANDOM")])
    assert ranger.decide([Suite(policies, [NORTH])], tmp_path)[0][0].kind == "MASK_RANDOM"
    with pytest.raises(PolicyError, match="no mask type 'MASK_RANDOM'"):
        read(policies)


def test_validity_window_is_refused(ranger, read, tmp_path):
    window = {"startTime": "2026/01/01 00:00:00", "endTime": "2026/06/30 23:59:59"}
    policies = one_policy(validitySchedules=[window | {"timeZone": "UTC"}])
    during, after = (
        Request(COLUMN, groups=frozenset({"north"}), time=f"2026-{month}-01T00:00:00Z")
        for month in ("03", "08")
    )
    (ranger_decisions,) = ranger.decide([Suite(policies, [during, after])], tmp_path)
    assert [answer.kind for answer in ranger_decisions] == ["MASK_NULL", None]
    with pytest.raises(PolicyError, match="validitySchedules would change a decision"):
        read(policies)


def test_field_ignored_by_ranger_is_refused(ranger, read, tmp_path):
    """Ranger silently ignores the misspelled priority, so the intended override has no effect."""
    policies = one_policy(polcyPriority=1)
    assert ranger.decide([Suite(policies, [NORTH])], tmp_path)[0][0].kind == "MASK_NULL"
    with pytest.raises(PolicyError, match="polcyPriority"):
        read(policies)


def test_contradicting_policies_are_refused(ranger, read, tmp_path):
    """With an exact MASK_NULL and a broad MASK_NONE, Ranger shows the column unmasked."""
    narrow = one_policy()["policies"][0] | {"policyPriority": 0}
    wide = {level: {"values": ["*"]} for level in LEVELS}
    broad = narrow | {"id": 2, "name": "z", "resources": wide}
    broad["dataMaskPolicyItems"] = [mask_item("MASK_NONE")]
    policies = one_policy() | {"policies": [narrow, broad]}
    assert ranger.decide([Suite(policies, [NORTH])], tmp_path)[0][0].policy_id == 2
    with pytest.raises(PolicyError, match="decide differently"):
        read(policies)
