"""A name that another column has taken: the mask of the one would be the other's."""

from dataclasses import replace

import pytest

from sink_runner.plugin import Column
from sink_runner.schema_check.contract import Contract
from sink_runner.schema_check.schema_findings import Change, refused

from .tables import row, rules

THEN = {"id": "integer!", "title": "text", "other": "text", "amount": "bigint"}
ENDING = {"id": "integer!", "amount": "bigint", "title": "text"}


def harm(then, now, *, with_types=True, schema_id=None, later=None):
    """What is refused of a mapping that names all that the two have in common."""
    held = rules(strict=False, columns=tuple(Column(name) for name in then if name in now))
    seen = replace(row(with_types=with_types, **now), schema_id=schema_id)
    found = refused(held.check(seen, Contract(row=row(**then)), later=later))
    return {(finding.column, finding.change): finding for finding in found}


def columns(*names, **types):
    """Columns in this order, of the types that they had, or have now."""
    return {name: (THEN | types)[name] for name in names}


@pytest.mark.parametrize(
    ("then", "now"),
    [
        (THEN, columns("id", "other", "title", "amount")),
        (THEN, columns("id", "x", "title", "amount", x="text")),
        (THEN, columns("id", "title_old", "other", "amount", "title", title_old="text")),
        (ENDING, columns("id", "amount", "old", "title", old="text")),
        (THEN, columns("id", "other", "title")),
        (THEN, columns("id", "other", "title", "x", x="date")),
        (THEN, columns("id", "other", "title", "amount", "x", x="date")),
        (THEN, columns("id", "x", "title", "amount", "y", x="text", y="date")),
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
def test_name_that_another_column_has_taken_is_refused(then, now, with_types):
    found = harm(then, now, with_types=with_types, schema_id=9, later=True)
    assert ("title", Change.RENAMED) in found
    assert "sink-runner schema accept one" in found["title", Change.RENAMED].text


def test_two_swapped_columns_are_reported():
    found = harm(THEN, columns("id", "other", "title", "amount"))
    assert {column for column, _ in found} == {"title", "other"}
    assert "the column that had it is probably other now" in found["title", Change.RENAMED].text


@pytest.mark.parametrize(
    ("then", "now"),
    [
        (THEN, THEN | {"x": "text", "y": "text"}),
        (THEN, columns("id", "title", "amount")),
        (THEN, columns("id", "amount", "x", x="text")),
        (THEN, columns("id", "x", "other", "amount", "y", x="text", y="text")),
        (THEN, columns("id", "title", "amount", "x", x="text")),
        (THEN, columns("id", "title", "amount", "other")),
        (THEN, columns("id", "amount", "y", y="date")),
        (ENDING, columns("amount", "title", "id")),
        (THEN, columns("id", "title", "other", "amount", amount="integer!", id="bigint")),
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
def test_what_places_explain_is_not(then, now, with_types):
    assert not {change for _, change in harm(then, now, with_types=with_types)} & {Change.RENAMED}


def test_schema_before_drop_is_accepted():
    """A runner that was stopped knows the table without the column, and reads events with it."""
    then = columns("id", "amount", "title")
    now = columns("id", "amount", "old", "title", old="text")
    assert harm(then, now, schema_id=3) == {}
    assert ("title", Change.RENAMED) in harm(then, now, schema_id=3, later=True)


def test_uncaptured_columns_do_not_matter():
    """The contract is of events; the table has columns that no event ever had."""
    then = columns("id", "title", "amount")
    now = columns("id", "hidden", "title", "also", "amount", hidden="text", also="text")
    assert harm(then, now) == {}
    swapped = columns("id", "hidden", "other", "also", "title", hidden="text", also="text")
    assert ("title", Change.RENAMED) in harm(columns("id", "title", "other"), swapped)
