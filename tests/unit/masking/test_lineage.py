"""The lineage of target columns: what each is made of, and under which mask."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sink_runner.masking.lineage import Input, column_lineage, row_inputs
from sink_runner.masking.origins import Origin, Origins
from sink_runner.masking.policy import ColumnName, Policies, load_policies
from sink_runner.plugin import (
    Column,
    Constant,
    Derived,
    Lookup,
    SyncTime,
    TableMapping,
    all_of,
    first_of,
    not_before,
    source_wins,
)

GOLDEN = "smart_warehouse", "public", "golden_records"


def golden(column: str) -> ColumnName:
    return ColumnName(*GOLDEN, column)


@pytest.fixture(scope="module")
def policies() -> Policies:
    return load_policies(Path(__file__).parents[3] / "ranger-policies")


def mapping(*columns: Column, **declared: Any) -> TableMapping:
    return TableMapping(
        source=".".join(GOLDEN),
        target="smart_citizen.public.profile_data",
        key=("record_id",),
        conflict=source_wins(),
        columns=(Column("record_id", "gr_id"), *columns),
        **declared,
    )


def lineage(policies: Policies, column: Column, origins: Origins | None = None) -> Any:
    return column_lineage(mapping(column), policies, origins or Origins())[1]


def test_masked_column_names_its_mask(policies: Policies) -> None:
    found = lineage(policies, Column("aadhaar", "jan_aadhaar"))
    mask = "show_last({col}, 4, '****-****-')"
    assert found.inputs == (Input(golden("jan_aadhaar"), mask),)
    assert (found.target, found.masks) == ("aadhaar", (mask,))


def test_column_shown_on_purpose_has_no_mask(policies: Policies) -> None:
    found = lineage(policies, Column("full_name"))
    assert found.inputs == (Input(golden("full_name")),)


def test_steps_are_in_order_of_execution(policies: Policies) -> None:
    column = Column("city", first_of("city", "ward"), convert=str, default="-", max_length=9)
    found = lineage(policies, column)
    expected = ("first that is not NULL", "convert", "default for NULL", "cut to 9 characters")
    assert found.steps == expected
    assert [one.source.column for one in found.inputs] == ["city", "ward"]


@pytest.mark.parametrize(
    ("source", "step"), [(Constant("9876543210"), "constant"), (SyncTime(), "time of the write")]
)
def test_value_without_source_has_no_input(policies: Policies, source: Any, step: str) -> None:
    found = lineage(policies, Column("synced_at", source))
    assert (found.inputs, found.steps) == ((), (step,))


def test_lookup_has_found_column_and_keys(policies: Policies) -> None:
    phone = ColumnName("smart_citizen", "public", "citizens", "mobile_number")
    column = Column("phone", all_of("gr_id", "jan_aadhaar"), lookup=Lookup("", "smart_citizen"))
    found = lineage(policies, column, Origins(lookups={"phone": [Origin(path=(phone,))]}))
    assert found.inputs[0].source == phone
    assert found.inputs[0].mask
    keys = [Input(golden(name), is_value=False) for name in ("gr_id", "jan_aadhaar")]
    assert list(found.inputs[1:]) == keys
    assert found.steps == ("look up in smart_citizen",)


def test_column_without_policy_is_hidden(policies: Policies) -> None:
    address = ColumnName("smart_warehouse", "nowhere", "people", "aadhaar_number")
    origins = Origins(sources={"gr_id": [Origin(path=(address,), type="text")]})
    found = lineage(policies, Column("other", "gr_id"), origins)
    assert found.masks == ("hidden",)


def test_derived_columns_depend_on_every_candidate(policies: Policies) -> None:
    derived = Derived(
        key=("record_id",),
        group=("record_id",),
        select="SELECT max(score) AS best",
        expire_after=timedelta(days=1),
    )
    made = mapping(Column("score", "jan_aadhaar"), derived=derived)
    group, best = column_lineage(made, policies, derived=["record_id", "best", "created_at"])
    assert group.inputs == (Input(golden("gr_id")),)
    assert [one.source.column for one in best.inputs] == ["gr_id", "jan_aadhaar"]
    assert best.masks
    assert best.steps == ("derive by SQL",)


def test_hooks_and_rules_read_row_inputs() -> None:
    made = mapping(extra_columns=("status",), rules=(not_before("status", "created_at"),))
    assert row_inputs(made) == [golden("status"), golden("created_at")]
