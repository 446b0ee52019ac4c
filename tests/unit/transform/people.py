"""The mapping, hooks and rows that the tests of the route share."""

from collections.abc import Callable

from sink_runner.errors import EventError
from sink_runner.testing import Harness, Outcome

MAPPING = """
from sink_runner.plugin import *
from sink_runner.plugin import Change

@hookimpl
def sink_mapping():
    return TableMapping(
        source="north.public.people", target="south.public.people", key=("id",),
        {declared}
        columns=({columns}),
    )
"""
COLUMNS = 'Column("id"), Column("name"), Column("city"), Column("at")'
FILTER = """
@hookimpl
def sink_filter(event):
    return FilterResult[event.row["result"]] if event.row["result"] else FilterResult.PASS
"""
FILTERED = 'conflict=source_wins(), extra_columns=("result",), needs_before_image=True,'
MERGED = 'conflict=merge_changed("at"), needs_before_image=True,'
ROW = {"id": "1", "name": "Anna", "city": "Bagru", "at": "5", "result": None}
SECRET = "Zarathustra-17"
Make = Callable[..., Harness]


def error_of(outcome: Outcome) -> EventError:
    assert (outcome.rows, outcome.leaves) == ([], [])
    assert outcome.error is not None
    return outcome.error
