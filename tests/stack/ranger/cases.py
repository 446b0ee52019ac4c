"""Policies and requests made up at random, from a small world in which they often meet."""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from sink_runner.masking.policy_resource import Pattern

from .engine import Request, Suite

OWN = Path(__file__).parents[3] / "ranger-policies"
DEFINITION = json.loads((OWN / "servicedef-sink.json").read_text())

DATABASES, SCHEMAS, TABLES = ("w", "c"), ("public", "decision"), ("people", "orders")
COLUMNS = ("aa", "ab", "ba", "abb", "aab", "zz")
LEVELS = ("database", "schema", "table", "column")
WORLD: tuple[Sequence[str], ...] = (DATABASES, SCHEMAS, TABLES, COLUMNS)
USERS = ("asha", "ravi")
GROUPS = ("north", "south", "East", "east")
EXPRESSIONS = ("'HIDDEN'", "show_last({col}, 4, '****-')", "show_email({col})")
KINDS = (
    *("MASK", "MASK_SHOW_LAST_4", "MASK_SHOW_FIRST_4", "MASK_HASH"),
    *("MASK_NULL", "MASK_NONE", "MASK_DATE_SHOW_YEAR", "CUSTOM"),
)
REQUESTS = 20


def policy_sets(seed: int) -> Iterator[dict[str, Any]]:
    """Sets of policies without end, in the form that Ranger's plugins download."""
    chance = random.Random(seed)
    for number in range(1_000_000):
        # Ties are refused unless they agree, so most sets have few policies of one kind.
        kinds = chance.sample(KINDS, chance.choice((1, 1, 2, 3)))
        policies = [_policy(chance, at + 1, kinds) for at in range(chance.randint(1, 5))]
        yield {
            "serviceName": "sink_test",
            "serviceId": 1,
            "policyVersion": number + 1,
            "serviceDef": DEFINITION,
            "policies": policies,
        }


def _policy(chance: random.Random, number: int, kinds: Sequence[str]) -> dict[str, Any]:
    items = [_item(chance, kinds) for _ in range(chance.choice((1, 1, 2, 3)))]
    return {
        "id": number,
        "version": chance.randint(1, 9),
        "name": f"{chance.choice('abcABC')}-{number}",
        "service": "sink_test",
        "isEnabled": chance.random() > 0.15,
        "policyType": 1,
        "policyPriority": int(chance.random() < 0.3),
        "resources": {
            "database": _names(chance, DATABASES),
            "schema": _names(chance, SCHEMAS),
            "table": _names(chance, TABLES),
            "column": _names(chance, COLUMNS),
        },
        "dataMaskPolicyItems": items,
    }


def _names(chance: random.Random, known: Sequence[str]) -> dict[str, Any]:
    values = [_pattern(chance, name) for name in chance.sample(known, chance.choice((1, 1, 2)))]
    return {"values": values, "isExcludes": chance.random() < 0.15}


def _pattern(chance: random.Random, name: str) -> str:
    at = chance.randrange(len(name))
    return chance.choice(
        (
            *(name, name, name.upper(), name.capitalize()),
            *("*", f"{name[:at]}*", f"*{name[at:]}", f"{name[:at]}?{name[at + 1 :]}", f"{name}?"),
        )
    )


def _item(chance: random.Random, kinds: Sequence[str]) -> dict[str, Any]:
    kind = chance.choice(kinds)
    info = {"dataMaskType": kind}
    if kind == "CUSTOM":
        info["valueExpr"] = chance.choice(EXPRESSIONS)
    users = chance.sample(USERS, chance.choice((0, 0, 1, 2)))
    groups = chance.sample((*GROUPS, "public"), chance.choice((0, 1, 1, 2)))
    if not users + groups:
        groups = ["north"]
    return {
        "accesses": [{"type": "select", "isAllowed": True}],
        "users": users,
        "groups": groups,
        "dataMaskInfo": info,
    }


def requests(policies: Mapping[str, Any], seed: int) -> tuple[Request, ...]:
    """Readers of one group, as targets are, of several, as people may be, and of none."""
    chance = random.Random(seed)
    return tuple(_request(chance, policies["policies"]) for _ in range(REQUESTS))


def _request(chance: random.Random, policies: Sequence[Mapping[str, Any]]) -> Request:
    names = [chance.choice(known) for known in WORLD]
    if chance.random() < 0.8:  # else few would be anything that a policy speaks of
        policy = chance.choice(policies)
        names = [chance.choice(_within([policy], at) or [name]) for at, name in enumerate(names)]
    spelled = [name.upper() if chance.random() < 0.1 else name for name in names]
    return Request(
        resource=(spelled[0], spelled[1], spelled[2], spelled[3]),
        user=chance.choice((None, None, *USERS, "eve")),
        groups=frozenset(chance.sample(GROUPS, chance.choice((0, 1, 1, 1, 2)))),
    )


def common(policies: Mapping[str, Any], numbers: Sequence[int]) -> list[Suite]:
    """Each of two policies alone, asked by every reader about one column that both speak of.

    Nothing if no such column is known.
    """
    pair = [policy for policy in policies["policies"] if policy["id"] in numbers]
    names = [name for at in range(len(LEVELS)) for name in _within(pair, at)[:1]]
    if len(names) < len(LEVELS):
        return []
    asked = [
        Request(
            resource=(names[0], names[1], names[2], names[3]),
            user=user,
            groups=frozenset({group} - {""}),
        )
        for user, group in product((None, *USERS), ("", *GROUPS))
    ]
    return [Suite({**policies, "policies": [policy]}, asked) for policy in pair]


def _within(policies: Sequence[Mapping[str, Any]], at: int) -> list[str]:
    """Names of a level that all the policies mean."""
    patterns = [policy["resources"][LEVELS[at]] for policy in policies]
    spelled = {value for pattern in patterns for value in pattern["values"]}
    letters = sorted({*"".join(spelled).lower(), "q"} - {*"*?"})
    filled = product(spelled, ("", *letters), letters)
    made = {value.replace("*", few).replace("?", one) for value, few, one in filled}
    known = sorted({*WORLD[at], "else", *(name for name in made if name)})
    meant = [Pattern(tuple(it["values"]), it.get("isExcludes", False)) for it in patterns]
    return [name for name in known if all(pattern.matches(name) for pattern in meant)]
