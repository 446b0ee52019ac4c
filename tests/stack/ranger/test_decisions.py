"""Our decisions are those of Apache Ranger's own engine, but where we refuse to decide."""

import json
import re
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from sink_runner.errors import PolicyError
from sink_runner.masking.policy import ColumnName, Policies, load_policies
from sink_runner.masking.principals import Principal

from .cases import DEFINITION, LEVELS, OWN, common, policy_sets, requests
from .engine import Decision, Ranger, Request, Suite

pytestmark = pytest.mark.ranger

SEED = 20260802
CASES = 1_000
REFUSED = 100
KEY = "0123456789abcdef0123456789abcdef"
AMBIGUOUS = re.compile(r"policies (\d+) .* and (\d+) .* decide differently")


@pytest.fixture
def read(tmp_path):
    """Read a set of policies with our own reader."""
    (tmp_path / "servicedef-sink.json").write_text(json.dumps(DEFINITION))
    (tmp_path / "classification.json").write_text('{"tags": {}, "columns": {}}')

    def read(policies) -> Policies:
        (tmp_path / "policies.json").write_text(json.dumps(policies))
        return load_policies(tmp_path, KEY)

    return read


def ours(policies: Policies, asked: Request) -> Decision:
    mask = policies.decide(ColumnName(*asked.resource), Principal(asked.user, asked.groups))
    if mask is None:
        return Decision()
    return Decision(mask.kind.value, mask.expression, mask.policy_id, mask.policy_version)


def test_random_cases_are_decided_as_by_ranger(ranger: Ranger, read, tmp_path):
    """The same mask, expression, policy and version for the same reader and column.

    The one difference is on purpose: for a person whose groups two policies tell apart, Ranger
    takes the broader policy and ours refuses; then one of the two is what Ranger took.
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
    theirs = ranger.decide(suites, tmp_path)
    kinds: Counter[str | None] = Counter()
    for suite, mine, answers in zip(suites, own, theirs, strict=True):
        for asked, answer in zip(suite.requests, answers, strict=True):
            try:
                assert ours(mine, asked) == answer, (asked, suite.policies["policies"])
            except PolicyError as fault:
                between = re.findall(r"policies (\d+) and (\d+)", str(fault))[0]
                assert len(asked.groups) + (asked.user is not None) > 1
                assert str(answer.policy_id) in between
                refused["refused"] += 1
            else:
                kinds[answer.kind] += 1
    assert sum(kinds.values()) >= CASES
    assert refused["refused"] < CASES / 20
    assert set(kinds) == {None, *(kind["name"] for kind in DEFINITION["dataMaskDef"]["maskTypes"])}
    assert sum(count for kind, count in kinds.items() if kind) > CASES / 4


def refused_pairs(read) -> tuple[list[list[Suite]], int]:
    """Pairs of policies that our reader refuses, and for how many no column was found."""
    pairs, doubted = [], 0
    for policies in policy_sets(SEED + 1):
        try:
            read(policies)
        except PolicyError as fault:
            one, other = AMBIGUOUS.findall(str(fault))[0]
            suites = common(policies, [int(one), int(other)])
            doubted += not suites
            pairs += [suites] if suites else []
        if len(pairs) == REFUSED:
            break
    return pairs, doubted


def test_refused_policies_are_ambiguous_for_ranger(ranger: Ranger, read, tmp_path):
    """Each of the two policies, alone, makes Ranger decide otherwise for one reader.

    The rest is for names longer than those tried, and where several excluded names together leave
    nothing, of which ours is in doubt.
    """
    pairs, doubted = refused_pairs(read)
    assert doubted < REFUSED / 20
    answers = iter(ranger.decide([suite for pair in pairs for suite in pair], tmp_path))
    for pair in pairs:
        both = zip(next(answers), next(answers), strict=True)
        assert any(
            one.kind and other.kind and (one.kind, one.expression) != (other.kind, other.expression)
            for one, other in both
        ), [suite.policies["policies"] for suite in pair]


def shipped() -> dict:
    policies = json.loads((OWN / "policies.json").read_text())
    return {"serviceDef": DEFINITION, **policies}


def catalog() -> list[ColumnName]:
    """Every column of both databases, as their DDL creates them."""
    found = []
    for database in ("smart_warehouse", "smart_citizen"):
        path = Path(__file__).parents[3] / "compose" / "sql" / database / "10-tables.sql"
        sql = re.sub(r"--[^\n]*", "", path.read_text())
        for table in re.finditer(r"CREATE TABLE (?:(\w+)\.)?(\w+) \((.*?)\n?\);", sql, re.DOTALL):
            body = re.sub(r"\([^()]*\)", "", re.sub(r"\([^()]*\)", "", table[3]))
            words = [part.split()[0].strip('"') for part in body.split(",") if part.strip()]
            columns = [word for word in words if not word.isupper()]
            found += [ColumnName(database, table[1] or "public", table[2], it) for it in columns]
    return found


def test_shipped_policies_decide_as_ranger_does(ranger, tmp_path):
    policies = load_policies(OWN)
    people = policies.files.people
    readers = [
        Principal(groups=frozenset({g})) for g in ("smart_citizen", "smart_warehouse", "else")
    ]
    readers += [Principal(user, groups) for user, groups in people.items()]
    columns = catalog()
    assert len(columns) > 180
    asked = [Request(tuple(name), who.user, who.groups) for name in columns for who in readers]
    (theirs,) = ranger.decide([Suite(shipped(), asked)], tmp_path)
    assert [ours(policies, request) for request in asked] == theirs
    assert sum(answer.kind is not None for answer in theirs) > 40


# -- where ours differs on purpose: Ranger decides, and we refuse to start ------------------------


def one_policy(**changes) -> dict:
    policies = next(islice(policy_sets(SEED), 1))
    levels = dict(zip(LEVELS, ("w", "public", "people", "aa"), strict=True))
    policy = {
        **policies["policies"][0],
        "isEnabled": True,
        "resources": {level: {"values": [name]} for level, name in levels.items()},
        "dataMaskPolicyItems": [an_item("MASK_NULL")],
    }
    return {**policies, "policies": [policy | changes]}


COLUMN = ("w", "public", "people", "aa")
NORTH = Request(COLUMN, groups=frozenset({"north"}))


def an_item(kind: str, **changes) -> dict:
    item = {"accesses": [{"type": "select", "isAllowed": True}], "groups": ["north"]}
    return item | {"dataMaskInfo": {"dataMaskType": kind}} | changes


def test_unknown_mask_type_is_refused(ranger, read, tmp_path):
    """Ranger answers with the type and no way to compute it; Hive then shows the value."""
    policies = one_policy(dataMaskPolicyItems=[an_item("MASK_RANDOM")])
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
    (theirs,) = ranger.decide([Suite(policies, [during, after])], tmp_path)
    assert [answer.kind for answer in theirs] == ["MASK_NULL", None]
    with pytest.raises(PolicyError, match="validitySchedules would change a decision"):
        read(policies)


def test_field_ignored_by_ranger_is_refused(ranger, read, tmp_path):
    """The override that was meant never happens, and nobody is told."""
    policies = one_policy(polcyPriority=1)
    assert ranger.decide([Suite(policies, [NORTH])], tmp_path)[0][0].kind == "MASK_NULL"
    with pytest.raises(PolicyError, match="polcyPriority"):
        read(policies)


def test_contradicting_policies_are_refused(ranger, read, tmp_path):
    """An exact NULL beside a broad MASK_NONE: in Ranger, the column is shown."""
    narrow = one_policy()["policies"][0] | {"policyPriority": 0}
    wide = {level: {"values": ["*"]} for level in LEVELS}
    broad = narrow | {"id": 2, "name": "z", "resources": wide}
    broad["dataMaskPolicyItems"] = [an_item("MASK_NONE")]
    policies = one_policy() | {"policies": [narrow, broad]}
    assert ranger.decide([Suite(policies, [NORTH])], tmp_path)[0][0].policy_id == 2
    with pytest.raises(PolicyError, match="decide differently"):
        read(policies)
