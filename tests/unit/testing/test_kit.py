"""The test kit for plugins: the contract finds errors of a plugin."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sink_runner.plugin import ABSENT, Delete
from sink_runner.testing import Harness, MappingContract, create, delete, update

MAPPING = """
from sink_runner.plugin import *

@hookimpl
def sink_mapping():
    return TableMapping(
        source="north.public.people", target="south.public.people", key=("id",),
        conflict=source_wins(),
        columns=(Column("id"), Column("name"), Column("city")),
    )
"""
MASK = """
@hookimpl
def sink_mask(row):
    return row | {"name": "masked"}
"""
MAP = """
@hookimpl
def sink_map(event, row):
    return row | {}
"""
WITH_RULE = """
from dataclasses import replace

def add_rule(mapping):
    rule = Rule("named", lambda row: row["name"] != "Unknown", ("name",))
    return hookimpl(lambda: replace(mapping(), rules=(rule,)), specname="sink_mapping")

sink_mapping = add_rule(sink_mapping)
"""
ROW = {"id": "1", "name": "Anna", "city": "Bagru"}
CHECKS = sorted(name for name in dir(MappingContract) if name.startswith("test_"))


@pytest.fixture
def failures(site) -> Callable[..., list[str]]:
    """Return a function that runs the contract for a plugin and returns the failed tests."""

    def run(
        code: str,
        *samples: Any,
        personal: frozenset[str] = frozenset({"name"}),
        broken: tuple = (),
    ) -> list[str]:
        site.plugin("kit", MAPPING + code)
        kit = type(
            "Kit",
            (MappingContract,),
            {
                "plugin": "kit",
                "samples": samples or (create(**ROW), update(ROW, city="Jaipur"), delete(**ROW)),
                "personal": personal,
                "broken": broken,
            },
        )
        failed = []
        for name in CHECKS:
            contract = kit()
            sink = Harness("kit")
            fixtures = {"sink": sink}
            try:
                if name in {"test_rows_carry_their_key", "test_personal_values_are_not_in_clear"}:
                    fixtures["rows"] = MappingContract.rows.__wrapped__(contract, sink)
                if name == "test_rows_carry_their_key":
                    del fixtures["sink"]
                getattr(contract, name)(**fixtures)
            except AssertionError:
                failed.append(name)
        return failed

    return run


class TestContract:
    def test_valid_plugin_passes(self, failures: Callable[..., list[str]]) -> None:
        assert failures(MASK) == []

    def test_unmasked_personal_column_is_found(self, failures: Callable[..., list[str]]) -> None:
        assert failures("") == ["test_personal_values_are_not_in_clear"]

    def test_personal_value_in_other_column_is_found(
        self, failures: Callable[..., list[str]]
    ) -> None:
        leak = MAP.format("{'city': row['name']}")
        assert failures(MASK + leak) == ["test_personal_values_are_not_in_clear"]

    def test_personal_value_within_text_is_found(self, failures: Callable[..., list[str]]) -> None:
        leak = MAP.format("{'city': 'of ' + row['name']}")
        assert failures(MASK + leak) == ["test_personal_values_are_not_in_clear"]

    def test_hook_with_state_is_found(self, failures: Callable[..., list[str]]) -> None:
        code = """
from itertools import count
NUMBERS = count()

@hookimpl
def sink_map(event, row):
    return row | {"city": str(next(NUMBERS))}
"""
        assert "test_the_same_event_gives_the_same_change" in failures(MASK + code)

    def test_hook_that_depends_on_offset_is_found(self, failures: Callable[..., list[str]]) -> None:
        code = """

@hookimpl
def sink_map(event, row):
    return row | {"city": str(event.offset)}
"""
        assert failures(MASK + code) == ["test_masking_does_not_depend_on_the_batch"]

    def test_failing_sample_is_found(self, failures: Callable[..., list[str]]) -> None:
        code = MAP.format("{'city': row['city'].upper()}")
        samples = (create(**ROW), create(**ROW | {"id": "2", "city": None}))
        assert failures(MASK + code, *samples) == ["test_no_sample_is_a_fault"]

    def test_samples_without_row_are_not_enough(self, failures: Callable[..., list[str]]) -> None:
        failed = failures(MASK, delete(**ROW))
        assert failed == ["test_personal_values_are_not_in_clear", "test_rows_carry_their_key"]

    @pytest.mark.parametrize(
        ("name", "rule", "failed"),
        [
            ("Unknown", "named", []),
            ("Unknown", "another", ["test_what_breaks_a_rule_is_refused_by_its_name"]),
            ("Anna", "named", ["test_what_breaks_a_rule_is_refused_by_its_name"]),
        ],
    )
    def test_contract_finds_rule_that_never_fails(
        self, failures: Callable[..., list[str]], name: str, rule: str, failed: list[str]
    ) -> None:
        broken = (create(**ROW | {"name": name}), rule)
        assert failures(MASK + WITH_RULE, broken=(broken,)) == failed


class TestHarness:
    def test_outcome_has_row_removal_or_error(self, site) -> None:
        site.plugin("kit", MAPPING)
        sink = Harness("kit")
        assert sink.send(create(**ROW)).row == ROW
        assert sink.send(delete(**ROW)).leaves == [(("1",), Delete())]
        assert "NULL" in str(sink.send(create(**ROW | {"id": None})).error)

    def test_value_missing_in_event_is_absent(self, site) -> None:
        site.plugin("kit", MAPPING)
        (change,) = Harness("kit").changes(create(**ROW | {"name": ABSENT}))
        assert change.partial
        assert ABSENT in change.values

    def test_missing_row_is_assertion_error(self, site) -> None:
        site.plugin("kit", MAPPING)
        with pytest.raises(AssertionError, match="0 rows"):
            _ = Harness("kit").send(delete(**ROW)).row

    def test_unknown_plugin_is_named(self) -> None:
        with pytest.raises(AssertionError, match="'unknown' is not installed"):
            Harness("unknown")

    def test_harness_masks_by_policies(self, site, tmp_path: Path) -> None:
        folder = tmp_path / "policies"
        shutil.copytree(Path(__file__).parents[3] / "ranger-policies", folder)
        document = json.loads((folder / "policies.json").read_text())
        resource = {"database": "north", "schema": "public", "table": "people", "column": "name"}
        policy = document["policies"][0]
        policy["resources"] = {level: {"values": [name]} for level, name in resource.items()}
        policy["dataMaskPolicyItems"][0]["groups"] = ["south"]
        (folder / "policies.json").write_text(json.dumps(document | {"policies": [policy]}))
        site.plugin("kit", MAPPING)
        assert Harness("kit", policies=folder).send(create(**ROW)).row["name"] != "Anna"
