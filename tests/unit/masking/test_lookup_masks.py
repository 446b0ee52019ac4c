"""A looked-up value is masked by the policy of the column that it comes from."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sink_runner.errors import ConfigError, PolicyError
from sink_runner.masking.masks import MaskKind
from sink_runner.masking.origins import Origin, Origins
from sink_runner.masking.policy import ColumnName, load_policies
from sink_runner.plugin import Column, Lookup, TableMapping, source_wins
from sink_runner.postgres.catalog import CatalogColumn
from sink_runner.testing import Harness, create
from sink_runner.transform.compiled_mapping import target_columns

OWN = Path(__file__).parents[3] / "ranger-policies"
PHONE = ColumnName("north", "private", "phones", "phone")
UNMASKED = "9876543210"
PLUGIN = """
from sink_runner.plugin import *

@hookimpl
def sink_mapping():
    return TableMapping(
        source="north.public.people", target="south.public.people", key=("id",),
        conflict=source_wins(),
        columns=(Column("id"), Column("found", "id", {options}lookup=Lookup("%s", "north"))),
    )
"""


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a folder with one policy and classification, for `PHONE`."""

    def write(kind: str | None, expression: str = "", *, tagged: bool = True) -> Path:
        path = tmp_path / "policies"
        shutil.copytree(OWN, path, dirs_exist_ok=True)
        content = json.loads((path / "policies.json").read_text())
        policy = content["policies"][0]
        policy["resources"] = {level: {"values": [name]} for level, name in PHONE._asdict().items()}
        info = {"dataMaskType": kind} | ({"valueExpr": expression} if expression else {})
        item = {"accesses": [{"type": "select", "isAllowed": True}], "groups": ["south"]}
        policy["dataMaskPolicyItems"] = [item | {"dataMaskInfo": info}]
        other = content["policies"][1]
        (path / "policies.json").write_text(
            json.dumps(content | {"policies": [policy if kind else other]})
        )
        columns = {".".join(PHONE[:3]): {"phone": ["CONTACT"]}} if tagged else {}
        (path / "classification.json").write_text(
            json.dumps({"tags": {"CONTACT": "a number"}, "columns": columns})
        )
        return path

    return write


@pytest.fixture
def harness(site: Any) -> Callable[..., Harness]:
    def build(
        policies: Path,
        *origins: Origin,
        options: str = "",
        found: dict[str, Any] | None = None,
    ) -> Harness:
        site.plugin("people", PLUGIN.format(options=options))
        answers = {"1": UNMASKED} if found is None else found
        fixed = Origins(lookups={"found": origins or (Origin(path=(PHONE,), type="text"),)})
        return Harness("people", policies=policies, found={"found": answers}, origins=fixed)

    return build


MASKS: dict[tuple[str, str], str | None] = {
    (MaskKind.NULL, ""): None,
    (MaskKind.MASK, ""): "0000000000",
    (MaskKind.SHOW_LAST_4, ""): "xxxxxx3210",
    (MaskKind.SHOW_FIRST_4, ""): "9876xxxxxx",
    (MaskKind.DATE_SHOW_YEAR, ""): None,
    (MaskKind.NONE, ""): UNMASKED,
    (MaskKind.CUSTOM, "'hidden'"): "hidden",
    (MaskKind.CUSTOM, "scrub_contacts({col})"): "***MASKED***",
}


@pytest.mark.parametrize(("kind", "expression"), MASKS)
def test_value_has_mask_of_its_column(
    harness: Any, folder: Any, kind: str, expression: str
) -> None:
    outcome = harness(folder(kind, expression)).send(create(id="1"))
    assert outcome.row["found"] == MASKS[kind, expression]


def test_constant_replaces_missing_value(harness: Any, folder: Any) -> None:
    sink = harness(folder("CUSTOM", "'hidden'"), found={})
    assert sink.send(create(id="1")).row["found"] == "hidden"


def test_classified_column_without_policy_is_refused(harness: Any, folder: Any) -> None:
    with pytest.raises(PolicyError, match=r"phones\.phone is classified CONTACT"):
        harness(folder(None))


def test_unclassified_column_without_policy_is_refused(harness: Any, folder: Any) -> None:
    with pytest.raises(PolicyError, match=r"phones\.phone may hold personal data"):
        harness(folder(None, tagged=False))


def test_error_names_every_column_without_policy(folder: Any) -> None:
    mapping = TableMapping(
        source="north.private.phones",
        target="south.public.people",
        key=("id",),
        conflict=source_wins(),
        columns=(
            Column("id"),
            Column("phone"),
            Column("found", "id", lookup=Lookup("%s", "north")),
        ),
    )
    catalog = {c.name: CatalogColumn(c.name, "text", nullable=True) for c in mapping.columns}
    origins = Origins(lookups={"found": [Origin(computed="the lookup is computed")]})
    with pytest.raises(PolicyError) as refused:
        target_columns(mapping, catalog, load_policies(folder(None)), origins)
    lines = str(refused.value).splitlines()
    assert lines[0].startswith("north.private.phones.phone is classified CONTACT")
    assert lines[1:] == ["the lookup is computed"]


def test_computed_value_is_refused(harness: Any, folder: Any) -> None:
    with pytest.raises(PolicyError, match="computed: declare made_of"):
        harness(folder("MASK_NULL"), Origin(computed="computed: declare made_of"))


def test_policy_of_view_column_decides(harness: Any, folder: Any) -> None:
    unknown = PHONE._replace(table="unknown")
    origin = Origin(path=(PHONE, unknown), computed="nothing behind it")
    assert harness(folder("MASK_NULL"), origin).send(create(id="1")).row["found"] is None


def test_policy_of_column_behind_view_decides(harness: Any, folder: Any) -> None:
    origin = Origin(path=(PHONE._replace(table="view"), PHONE), type="text")
    assert harness(folder("MASK_NULL"), origin).send(create(id="1")).row["found"] is None


def test_required_column_cannot_be_masked_as_null(harness: Any, folder: Any) -> None:
    with pytest.raises(ConfigError, match="is required: no row could be written"):
        harness(folder("MASK_NULL"), options="required=True, ")


def test_two_masks_of_one_value_are_refused(harness: Any, folder: Any) -> None:
    other = ColumnName("smart_warehouse", "public", "golden_records", "email")
    path = folder("MASK_NULL")
    content = json.loads((path / "policies.json").read_text())
    second = json.loads(json.dumps(content["policies"][0])) | {"id": 2, "name": "second"}
    second["resources"] = {level: {"values": [name]} for level, name in other._asdict().items()}
    second["dataMaskPolicyItems"][0]["dataMaskInfo"] = {"dataMaskType": "MASK"}
    (path / "policies.json").write_text(
        json.dumps(content | {"policies": [content["policies"][0], second]})
    )
    with pytest.raises(ConfigError, match="comes from several masked columns"):
        harness(path, Origin(path=(PHONE,), type="text"), Origin(path=(other,), type="text"))
