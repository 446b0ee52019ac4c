"""Random policies and requests over a few names, so that policies often match."""

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
NAMES: tuple[Sequence[str], ...] = (DATABASES, SCHEMAS, TABLES, COLUMNS)
USERS = ("asha", "ravi")
GROUPS = ("north", "south", "East", "east")
EXPRESSIONS = ("'HIDDEN'", "show_last({col}, 4, '****-')", "show_email({col})")
KINDS = (
    *("MASK", "MASK_SHOW_LAST_4", "MASK_SHOW_FIRST_4", "MASK_HASH"),
    *("MASK_NULL", "MASK_NONE", "MASK_DATE_SHOW_YEAR", "CUSTOM"),
)
REQUESTS = 20


def policy_sets(seed: int) -> Iterator[dict[str, Any]]:
    """Yield random sets of policies, in the format that Ranger's plugins download."""
    rng = random.Random(seed)
    for number in range(1_000_000):
        # Contradicting policies are refused, so most sets have only a few kinds of masks.
        kinds = rng.sample(KINDS, rng.choice((1, 1, 2, 3)))
        policies = [_policy(rng, n + 1, kinds) for n in range(rng.randint(1, 5))]
        yield {
            "serviceName": "sink_test",
            "serviceId": 1,
            "policyVersion": number + 1,
            "serviceDef": DEFINITION,
            "policies": policies,
        }


def _policy(rng: random.Random, number: int, kinds: Sequence[str]) -> dict[str, Any]:
    items = [_item(rng, kinds) for _ in range(rng.choice((1, 1, 2, 3)))]
    return {
        "id": number,
        "version": rng.randint(1, 9),
        "name": f"{rng.choice('abcABC')}-{number}",
        "service": "sink_test",
        "isEnabled": rng.random() > 0.15,
        "policyType": 1,
        "policyPriority": int(rng.random() < 0.3),
        "resources": {
            "database": _names(rng, DATABASES),
            "schema": _names(rng, SCHEMAS),
            "table": _names(rng, TABLES),
            "column": _names(rng, COLUMNS),
        },
        "dataMaskPolicyItems": items,
    }


def _names(rng: random.Random, known: Sequence[str]) -> dict[str, Any]:
    values = [_pattern(rng, name) for name in rng.sample(known, rng.choice((1, 1, 2)))]
    return {"values": values, "isExcludes": rng.random() < 0.15}


def _pattern(rng: random.Random, name: str) -> str:
    index = rng.randrange(len(name))
    return rng.choice(
        (
            *(name, name, name.upper(), name.capitalize()),
            *(
                "*",
                f"{name[:index]}*",
                f"*{name[index:]}",
                f"{name[:index]}?{name[index + 1 :]}",
                f"{name}?",
            ),
        )
    )


def _item(rng: random.Random, kinds: Sequence[str]) -> dict[str, Any]:
    kind = rng.choice(kinds)
    info = {"dataMaskType": kind}
    if kind == "CUSTOM":
        info["valueExpr"] = rng.choice(EXPRESSIONS)
    users = rng.sample(USERS, rng.choice((0, 0, 1, 2)))
    groups = rng.sample((*GROUPS, "public"), rng.choice((0, 1, 1, 2)))
    if not users + groups:
        groups = ["north"]
    return {
        "accesses": [{"type": "select", "isAllowed": True}],
        "users": users,
        "groups": groups,
        "dataMaskInfo": info,
    }


def requests(policies: Mapping[str, Any], seed: int) -> tuple[Request, ...]:
    """Return requests of principals with one group, several groups, or none."""
    rng = random.Random(seed)
    return tuple(_request(rng, policies["policies"]) for _ in range(REQUESTS))


def _request(rng: random.Random, policies: Sequence[Mapping[str, Any]]) -> Request:
    names = [rng.choice(known) for known in NAMES]
    if rng.random() < 0.8:  # otherwise few requests would match a policy
        policy = rng.choice(policies)
        names = [
            rng.choice(_matching_names([policy], at) or [name]) for at, name in enumerate(names)
        ]
    spelled = [name.upper() if rng.random() < 0.1 else name for name in names]
    return Request(
        resource=(spelled[0], spelled[1], spelled[2], spelled[3]),
        user=rng.choice((None, None, *USERS, "eve")),
        groups=frozenset(rng.sample(GROUPS, rng.choice((0, 1, 1, 1, 2)))),
    )


def common_column_suites(policies: Mapping[str, Any], numbers: Sequence[int]) -> list[Suite]:
    """Return a suite for each policy, in which every principal requests a column that all match.

    The list is empty if no such column is found.
    """
    chosen = [policy for policy in policies["policies"] if policy["id"] in numbers]
    names = [name for at in range(len(LEVELS)) for name in _matching_names(chosen, at)[:1]]
    if len(names) < len(LEVELS):
        return []
    requests_ = [
        Request(
            resource=(names[0], names[1], names[2], names[3]),
            user=user,
            groups=frozenset({group} - {""}),
        )
        for user, group in product((None, *USERS), ("", *GROUPS))
    ]
    return [Suite({**policies, "policies": [policy]}, requests_) for policy in chosen]


def _matching_names(policies: Sequence[Mapping[str, Any]], at: int) -> list[str]:
    """Return names of a resource level that all policies match."""
    patterns = [policy["resources"][LEVELS[at]] for policy in policies]
    values = {value for pattern in patterns for value in pattern["values"]}
    characters = sorted({*"".join(values).lower(), "q"} - {*"*?"})
    replacements = product(values, ("", *characters), characters)
    matching = {text.replace("*", many).replace("?", one) for text, many, one in replacements}
    known = sorted({*NAMES[at], "else", *(name for name in matching if name)})
    parsed = [Pattern(tuple(one["values"]), one.get("isExcludes", False)) for one in patterns]
    return [name for name in known if all(pattern.matches(name) for pattern in parsed)]
