"""Masks of JSON, links and codes keep the permitted parts and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sink_runner.errors import PolicyError
from sink_runner.masking.masks import MaskKind, compile_mask
from sink_runner.masking.policy import ColumnName, load_policies
from sink_runner.masking.principals import group_principal

SHIPPED = load_policies(Path(__file__).parents[3] / "ranger-policies")
NUMBER, EMAIL = "9876543210", "asha@example.com"
FULLWIDTH = "\uff19\uff18\uff17\uff16\uff15\uff14\uff13\uff12\uff11\uff10"


def mask(expression: str) -> Any:
    function = compile_mask(MaskKind.CUSTOM, expression)
    assert function is not None
    return function


def shipped_mask(table: str, column: str) -> Any:
    shipped = SHIPPED.decide_closed(
        ColumnName("smart_warehouse", *table.split("."), column), group_principal("smart_citizen")
    )
    assert shipped is not None
    assert shipped.function is not None
    return shipped.function


# -- JSON -------------------------------------------------------------------------------------

PATHS = "mask_json({col}, '$.a.b', '$[*].c', '$.list[*]', '$[\\'odd key\\']', \"$.p = 'gone'\")"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ('{"a": {"b": 1, "x": 2}, "x": 3}', '{"a":{"b":1}}'),
        ('[{"c": "one", "x": "two"}, {"x": 1}, "three", [1]]', '[{"c":"one"},{}]'),
        ('{"list": [1, "two", null, {"x": 1}, [2]]}', '{"list":[1,"two",null]}'),
        ('{"odd key": true, "p": "secret"}', '{"odd key":true,"p":"gone"}'),
        ('{"a": "scalar where members are expected"}', "{}"),
        ('{"a": {"b": {"c": "object where a scalar is expected"}}}', '{"a":{}}'),
        ('{"a": {"b": 1.2300000000000000000001}}', '{"a":{"b":1.2300000000000000000001}}'),
        ('{"a": {"b": 9876543210}}', '{"a":{"b":null}}'),
        ('{"a": {"b": 9.876543210e9}}', '{"a":{"b":null}}'),
        ('{"a": {"b": "call 98765 43210"}}', '{"a":{"b":"call ***MASKED***"}}'),
        ('{"a": {"b": "आशा"}}', '{"a":{"b":"आशा"}}'),
        ('{"a": {"b": "3f2b8c1e-1234-4123-8123-123456789012"}}',) * 2,
        ('"a scalar"', None),
        ("null", None),
        ("no JSON", None),
        ("[" * 100_000, None),
        (None, None),
    ],
)
def test_json_keeps_only_listed_paths(value: str | None, kept: str | None) -> None:
    masked = mask(PATHS)(value)
    assert masked == (kept if kept is None else kept.replace(": ", ":"))
    assert mask(PATHS)(masked) == masked


def test_decoded_json_stays_decoded() -> None:
    """The API reads JSON from the database as objects."""
    assert mask(PATHS)([{"c": 1.5, "x": 2}]) == [{"c": 1.5}]
    assert mask(PATHS)({"x": NUMBER}) == {}


@pytest.mark.parametrize(
    "expression",
    [
        "mask_json({col})",
        "mask_json({col}, 'a.b')",
        "mask_json({col}, '$.a', '$.a')",
        "mask_json({col}, '$.a', 4)",
        "mask_json({col}, '$.a = no_such_mask({col})')",
        "mask_json({col}, '$[0]')",
    ],
)
def test_invalid_json_mask_is_refused(expression: str) -> None:
    with pytest.raises(PolicyError):
        mask(expression)


_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8))
_JSON = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["scheme_code", "benefit_amount", "x", "name"]), inner)
    ),
    max_leaves=20,
)


def _insert(value: Any, secret: Any, data: st.DataObject) -> Any:
    """Insert the secret into the value as a scalar, a part of one or a key."""
    if isinstance(value, list) and value:
        at = data.draw(st.integers(0, len(value) - 1))
        return [*value[:at], _insert(value[at], secret, data), *value[at + 1 :]]
    if isinstance(value, dict) and value:
        name = data.draw(st.sampled_from(sorted(value)))
        return value | {name: _insert(value[name], secret, data)}
    return data.draw(st.sampled_from([secret, f"of {secret}.", {str(secret): 1}, [secret]]))


@given(_JSON, st.sampled_from([NUMBER, int(NUMBER), "1234 5678 9012", EMAIL, FULLWIDTH]), st.data())
def test_projections_never_contain_inserted_secret(
    value: Any, secret: Any, data: st.DataObject
) -> None:
    mask_projections = shipped_mask("forecast.benefit_forecasts", "projections")
    projections = _insert([value, {"scheme_code": value}], secret, data)
    assert str(secret) not in (mask_projections(json.dumps(projections)) or "")
    masked = mask_projections(projections)
    assert str(secret) not in json.dumps(masked, ensure_ascii=False)


# -- links and codes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "masked"),
    [
        ("/schemes/OLD_AGE_PENSION", "/schemes/OLD_AGE_PENSION"),
        (f"/apply?mobile={NUMBER}", "/apply"),
        (f"https://portal.example/a/b#{EMAIL}", "https://portal.example/a/b"),
        (f"https://{NUMBER}:x@portal.example/", "https://portal.example/"),
        (f"https://portal.example/c/{NUMBER}/x", "https://portal.example/"),
        (f"https://portal.example/c/{EMAIL}", "https://portal.example/"),
        ("https://portal.example/c/98765%2043210", "https://portal.example/"),
        ("/c/9876%2535432%25310", "/"),
        (f"/c/{FULLWIDTH}", "/"),
        (f"https://{NUMBER}.example/", None),
        ("https://portal.example:98765/43210", "https://portal.example:98765/"),
        ("/a/3f2b8c1e-1234-4123-8123-123456789012",) * 2,
        ("HTTPS://portal.example", "HTTPS://portal.example"),
        (f"javascript:alert({NUMBER})", None),
        ("//elsewhere.example/", None),
        (f"call {NUMBER}", None),
        ("", None),
        (None, None),
    ],
)
def test_link_keeps_host_and_path_only(link: str | None, masked: str | None) -> None:
    mask_link = shipped_mask("alerts.ml_alert_outbox", "action_url")
    assert mask_link(link) == masked
    assert mask_link(masked) == masked


@pytest.mark.parametrize(
    ("code", "masked"),
    [
        ("BENEFIT_EXPIRY", "BENEFIT_EXPIRY"),
        ("AI_PLATFORM_07", "AI_PLATFORM_07"),
        *((text, "OTHER") for text in (f"Call {NUMBER}", "Asha Sharma", "asha", "", "A" * 51)),
        *((text, "OTHER") for text in ("A_9876543210", "A_98_76_54_32_10", f"A{FULLWIDTH}", "A-B")),
        (None, None),
    ],
)
def test_alert_type_keeps_only_codes(code: str | None, masked: str | None) -> None:
    assert shipped_mask("alerts.ml_alert_outbox", "alert_type")(code) == masked


def test_replacement_of_code_must_be_code() -> None:
    with pytest.raises(PolicyError, match="must be capitals"):
        mask("show_code({col}, 'not a code')")
