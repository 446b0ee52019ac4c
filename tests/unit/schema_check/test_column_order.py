"""A column that takes over the name of another one is refused: it would get the wrong mask."""

from dataclasses import replace

import pytest

from sink_runner.plugin import Column
from sink_runner.schema_check.contract import Contract
from sink_runner.schema_check.schema_findings import Change, refused

from .tables import row, rules

BEFORE = {"id": "integer!", "title": "text", "other": "text", "amount": "bigint"}
LAST_TITLE = {"id": "integer!", "amount": "bigint", "title": "text"}


def refusals(before, after, *, with_types=True, schema_id=None, later=None):
    """Return what is refused of a mapping of all columns that both tables have."""
    checked = rules(strict=False, columns=tuple(Column(name) for name in before if name in after))
    current = replace(row(with_types=with_types, **after), schema_id=schema_id)
    findings = refused(checked.check(current, Contract(row=row(**before)), later=later))
    return {(finding.column, finding.change): finding for finding in findings}


def columns(*names, **types):
    """Return the columns in this order, with their types: the given ones, or the former."""
    return {name: (BEFORE | types)[name] for name in names}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (BEFORE, columns("id", "other", "title", "amount")),
        (BEFORE, columns("id", "x", "title", "amount", x="text")),
        (BEFORE, columns("id", "title_old", "other", "amount", "title", title_old="text")),
        (LAST_TITLE, columns("id", "amount", "old", "title", old="text")),
        (BEFORE, columns("id", "other", "title")),
        (BEFORE, columns("id", "other", "title", "x", x="date")),
        (BEFORE, columns("id", "other", "title", "amount", "x", x="date")),
        (BEFORE, columns("id", "x", "title", "amount", "y", x="text", y="date")),
    ],
    ids=[
        "swapped",
        "passed on",
        "renamed and created again",
        "the last one, too",
        "swapped and one dropped",
        "swapped, dropped and added",
        "swapped and one added",
        "passed on and one added",
    ],
)
@pytest.mark.parametrize("with_types", [True, False], ids=["catalog", "registry"])
def test_reused_name_is_refused(before, after, with_types):
    findings = refusals(before, after, with_types=with_types, schema_id=9, later=True)
    assert ("title", Change.RENAMED) in findings
    assert "sink-runner schema accept one" in findings["title", Change.RENAMED].text


def test_two_swapped_columns_are_reported():
    findings = refusals(BEFORE, columns("id", "other", "title", "amount"))
    assert {column for column, _ in findings} == {"title", "other"}
    assert "the column that had it is probably other now" in findings["title", Change.RENAMED].text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (BEFORE, BEFORE | {"x": "text", "y": "text"}),
        (BEFORE, columns("id", "title", "amount")),
        (BEFORE, columns("id", "amount", "x", x="text")),
        (BEFORE, columns("id", "x", "other", "amount", "y", x="text", y="text")),
        (BEFORE, columns("id", "title", "amount", "x", x="text")),
        (BEFORE, columns("id", "title", "amount", "other")),
        (BEFORE, columns("id", "amount", "y", y="date")),
        (LAST_TITLE, columns("amount", "title", "id")),
        (BEFORE, columns("id", "title", "other", "amount", amount="integer!", id="bigint")),
        (columns("id", "amount"), columns("id", "title", "amount")),
    ],
    ids=[
        "added",
        "dropped",
        "dropped and added",
        "renamed and added",
        "one dropped, one added",
        "created again",
        "two dropped",
        "the first created again",
        "types only",
        "created again as a whole",
    ],
)
@pytest.mark.parametrize("with_types", [True, False], ids=["catalog", "registry"])
def test_other_changes_are_not_renames(before, after, with_types):
    assert not {change for _, change in refusals(before, after, with_types=with_types)} & {
        Change.RENAMED
    }


def test_schema_before_drop_is_accepted():
    """A runner that was stopped reads events from before the column was dropped."""
    before = columns("id", "amount", "title")
    after = columns("id", "amount", "old", "title", old="text")
    assert refusals(before, after, schema_id=3) == {}
    assert ("title", Change.RENAMED) in refusals(before, after, schema_id=3, later=True)


def test_uncaptured_columns_do_not_matter():
    """The contract describes events; the table has columns that no event has."""
    before = columns("id", "title", "amount")
    after = columns("id", "hidden", "title", "also", "amount", hidden="text", also="text")
    assert refusals(before, after) == {}
    swapped = columns("id", "hidden", "other", "also", "title", hidden="text", also="text")
    assert ("title", Change.RENAMED) in refusals(columns("id", "title", "other"), swapped)
