"""Keys of the target that can be looked up in the source."""

import pytest

from sink_runner.batch.keys import TargetKeys
from sink_runner.plugin import Column, TableMapping, source_wins
from sink_runner.postgres.target_column import TargetColumn


def source_columns(column, mask=None):
    mapping = TableMapping(
        source="a.b.source",
        target="c.d.target",
        key=(column.name,),
        conflict=source_wins(),
        columns=(column,),
    )
    return TargetKeys(
        "one", mapping, "target", [TargetColumn(column, "text", "text", mask)]
    ).source_columns


def test_key_is_queried_by_its_column() -> None:
    assert source_columns(Column("code")) == ("code",)
    assert source_columns(Column("code", "scheme_code")) == ("scheme_code",)


@pytest.mark.parametrize(
    "column",
    [
        Column("code", convert=str.upper),
        Column("code", max_length=3),
        Column("code", default="none"),
    ],
)
def test_computed_key_is_not_queried(column) -> None:
    assert source_columns(column) is None


def test_masked_key_is_not_queried() -> None:
    """The source has no row with a masked key, so every row of the target would be removed."""
    assert source_columns(Column("code"), mask=lambda _: "***") is None
