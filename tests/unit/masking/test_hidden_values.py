"""Hooks may compare a masked value, but not read it or copy it to another column."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sink_runner.errors import MaskedColumnError, StepError
from sink_runner.masking.leaks import refuse_leaks
from sink_runner.plugin import MaskedValue
from sink_runner.plugin.masked_value import reveal
from sink_runner.testing import Harness, Outcome, create, update

OWN = Path(__file__).parents[3] / "ranger-policies"
UNMASKED = "9876543210"
PLUGIN = """
from sink_runner.plugin import *

@hookimpl
def sink_mapping():
    return TableMapping(
        source="north.public.people", target="south.public.people", key=("id",),
        conflict=source_wins(), extra_columns=("secret",), needs_before_image=True, {declared}
        columns=(Column("id"), Column("phone"), Column("city")),
    )
"""
FILTER = """
@hookimpl
def sink_filter(event):
    return FilterResult.PASS if {} else FilterResult.DROP
"""
MAP = """
@hookimpl
def sink_map(event, row):
    row[{!r}] = {}
    return row
"""


@pytest.fixture
def send(site: Any, tmp_path: Path) -> Callable[..., Outcome]:
    """Return a function that sends a row through hooks; a policy masks `phone` and `secret`."""
    policies = tmp_path / "policies"
    shutil.copytree(OWN, policies)
    content = json.loads((policies / "policies.json").read_text())
    policy = content["policies"][0]
    resource = {"database": "north", "schema": "public", "table": "people"}
    policy["resources"] = {level: {"values": [name]} for level, name in resource.items()}
    policy["resources"]["column"] = {"values": ["phone", "secret"]}
    policy["dataMaskPolicyItems"][0]["groups"] = ["south"]
    (policies / "policies.json").write_text(json.dumps(content | {"policies": [policy]}))

    def run(
        *hooks: str, declared: str = "", before: dict[str, Any] | None = None, **row: Any
    ) -> Outcome:
        site.plugin("people", PLUGIN.format(declared=declared) + "".join(hooks))
        sink = Harness("people", policies=policies)
        values = {"id": "1", "phone": UNMASKED, "secret": "Zarathustra", "city": "Bagru"} | row
        return sink.send(update(values | before) if before else create(**values))

    return run


MASKED = "****-****-3210"


@pytest.mark.parametrize(
    "test",
    [
        'event.row["phone"] == "9876543210"',
        'event.row["phone"] in {"9876543210"}',
        'event.row["phone"] != "other" and event.row["phone"]',
        'event.row["phone"] is not None',
        'str(event.row["phone"]) == f"{event.row[\'phone\']:>5}" == "<masked phone>"',
        'event.row["phone"] == event.row["phone"]',
    ],
)
def test_hook_may_compare_masked_value(send: Any, test: str) -> None:
    assert send(FILTER.format(test)).row["phone"] == MASKED


@pytest.mark.parametrize(
    "use",
    [
        *('event.row["phone"].strip()', 'event.row["phone"] + ""', 'len(event.row["phone"])'),
        *('event.row["phone"][-4:]', '"9" in event.row["phone"]', 'event.row["phone"] < "a"'),
        *('int(event.row["phone"])', '"".join(event.row["phone"])', '[*event.row["phone"]]'),
    ],
)
def test_error_of_reading_hook_has_advice(send: Any, use: str) -> None:
    outcome = send(FILTER.format(use))
    assert isinstance(outcome.error, StepError)
    advice = (
        "column 'phone' is masked for this target: compare it only, or add it to reads_unmasked"
    )
    assert advice in str(outcome.error)


def test_reads_unmasked_gives_hook_the_value(send: Any) -> None:
    declared = 'reads_unmasked=("phone",),'
    hook = MAP.format("phone", 'row["phone"].strip() + "1"')
    row = send(FILTER.format('event.row["phone"][0] == "9"'), hook, declared=declared).row
    assert row["phone"] == "****-****-2101"


def test_reads_unmasked_of_unknown_column_is_refused(send: Any) -> None:
    with pytest.raises(Exception, match="reads_unmasked column 'fone' is not declared"):
        send(declared='reads_unmasked=("fone",),')


def test_unchanged_value_is_masked_in_target(send: Any) -> None:
    assert send(MAP.format("city", '"Jaipur"')).row == {
        "id": "1",
        "phone": MASKED,
        "city": "Jaipur",
    }


def test_null_is_readable(send: Any) -> None:
    assert send(MAP.format("city", 'str(row["phone"])'), phone=None).row["city"] == "None"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("city", f'{read}["phone"]') for read in ("row", "event.row")),
        *(("phone", f'event.row["{name}"]') for name in ("secret",)),
        ("city", '[event.row["phone"]]'),
        ("city", "f\"of {row['phone']}\""),
        ("city", '{"a": (event.row["phone"],)}'),
    ],
)
def test_masked_value_copied_to_column_is_refused(send: Any, column: str, value: str) -> None:
    outcome = send(MAP.format(column, value))
    assert "unmasked" in str(outcome.error)
    assert UNMASKED not in str(outcome.error)


def test_before_image_is_masked(send: Any) -> None:
    hook = FILTER.format('event.before is None or event.before["phone"].strip()')
    assert send(hook, before={"phone": "1"}).error is not None


def test_rule_reads_unmasked_value(send: Any) -> None:
    rule = 'Rule("nine", lambda row: row["phone"].startswith("9"), reads=("phone",))'
    assert send(declared=f"rules=({rule},),").row["phone"] == MASKED


def test_masked_value_within_collection_is_revealed() -> None:
    value = MaskedValue("x", "phone", frozenset({"phone"}))
    assert reveal([{"a": (value, 1)}], "phone") == [{"a": ("x", 1)}]
    with pytest.raises(MaskedColumnError):
        reveal([{"a": (value, 1)}], "city")


# -- copies of a value that a step may read ----------------------------------------------------

_ZEROS = "0\N{ARABIC-INDIC DIGIT ZERO}\N{DEVANAGARI DIGIT ZERO}\N{FULLWIDTH DIGIT ZERO}"
_SEPARATORS = st.text("\t\n -./_:,;()[]|*+=#'\"\u200b\u00a0\u2009\u2013\u00ad", max_size=6)
_HIDDEN = st.one_of(
    st.text("0123456789", min_size=6, max_size=16),
    st.text("abcdefghijklmnopqrstuvwxyzABCDEFG", min_size=6, max_size=20),
    st.sampled_from(["asha.sharma@example.com", "Müller-Straße 7", "आशा शर्मा जयपुर"]),
)


def _in_script(text: str, zero: str) -> str:
    return "".join(chr(ord(zero) + int(c)) if c in "0123456789" else c for c in text)


@given(st.data())
@settings(max_examples=300)
def test_copy_is_found_in_any_spelling(data: st.DataObject) -> None:
    hidden = data.draw(_HIDDEN)
    copied = _in_script(hidden, data.draw(st.sampled_from(_ZEROS)))
    copied = data.draw(st.sampled_from([str, str.upper, str.lower, str.swapcase]))(copied)
    if data.draw(st.booleans()):
        copied = copied[::-1]
    separator = data.draw(_SEPARATORS)
    copied = separator.join(copied)
    copied = data.draw(st.sampled_from([str, quote]))(copied)
    text = data.draw(st.text("xyz ", max_size=8)) + copied + data.draw(st.text("xyz ", max_size=8))
    value = data.draw(st.sampled_from([text, [text], {"key": text}]))
    own = {"phone": frozenset({"phone"})}
    with pytest.raises(StepError, match="carries 'phone' to column 'city' unmasked"):
        refuse_leaks(own, [{"phone": hidden}], {"city": value})
    refuse_leaks(own, [{"phone": hidden}], {"phone": value})


@pytest.mark.parametrize(
    ("hidden", "copied"),
    [
        (UNMASKED, "9876 543 210"),
        (UNMASKED, "\uff19\uff18\uff17\uff16\uff15\uff14\uff13\uff12\uff11\uff10"),
        (UNMASKED, "98a76b54c32d10"),
        (UNMASKED, 9876543210),
        (9876543210, "tel. 98765-43210"),
        (UNMASKED, "&#57;876543210"),
        (UNMASKED, '["\\u00398765\\n43210"]'),
        (UNMASKED, "九八七六五四三二一〇"),
        (date(1990, 1, 31), "13-10-0991"),
        ("Zarathustra", "ARTSUHTARAZ"),
        *((f"{prefix}9876543210", "9876543210") for prefix in ("+91", "0091 ", "0", "91-")),
        *((date(1990, 1, 31), text) for text in ("31/01/1990", "01-31-1990", "19900131")),
        (datetime(1990, 1, 31, 7, 5, tzinfo=UTC), "born 31.01.1990"),
    ],
)
def test_copy_in_known_spelling_is_found(hidden: Any, copied: Any) -> None:
    with pytest.raises(StepError):
        refuse_leaks({"h": frozenset()}, [{"h": hidden}], {"city": copied})


@pytest.mark.parametrize(
    ("hidden", "copied"),
    [
        ("302001", date(2024, 3, 2)),
        (date(1990, 1, 31), "31/01/1991"),
        (date(1990, 1, 31), date(1990, 3, 1)),
        ("12345", "12345"),
        ("Zarathustra", "Zarathus"),
        (None, "x"),
    ],
)
def test_similar_value_passes(hidden: Any, copied: Any) -> None:
    refuse_leaks({"h": frozenset()}, [{"h": hidden}], {"city": copied})
