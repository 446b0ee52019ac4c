"""The plugin author's API: import from here and from nowhere else in sink_runner.

A `TableMapping` declares source, target, key, columns and the conflict rule; hooks add code where a
declaration does not suffice.  Declarations are checked against both databases and the masking
policies before a mapping starts.
"""

from __future__ import annotations

import pluggy

from ..errors import EventError, FatalError, RetriableError
from .columns import (
    AllOf,
    Column,
    Constant,
    FirstOf,
    Lookup,
    Rule,
    SyncTime,
    all_of,
    first_of,
    not_before,
)
from .conflicts import (
    Action,
    Conflict,
    ConflictDetection,
    Delete,
    Ignore,
    OnTruncate,
    Review,
    SetColumns,
    Strategy,
    Tie,
    insert_once,
    merge_changed,
    newest_wins,
    source_wins,
)
from .events import ABSENT, Change, Changes, Context, Event, FilterResult, Op, Row
from .http_api import (
    CapturedColumn,
    EventRoute,
    HttpApi,
    PathParameter,
    QueryRoute,
    ServiceRoute,
)
from .mapping import Derived, Query, Schedule, Table, TableMapping
from .masked_value import MaskedValue

__all__ = [
    "ABSENT",
    "Action",
    "AllOf",
    "CapturedColumn",
    "Change",
    "Changes",
    "Column",
    "Conflict",
    "ConflictDetection",
    "Constant",
    "Context",
    "Delete",
    "Derived",
    "Event",
    "EventError",
    "EventRoute",
    "FatalError",
    "FilterResult",
    "FirstOf",
    "HttpApi",
    "Ignore",
    "Lookup",
    "MaskedValue",
    "OnTruncate",
    "Op",
    "PathParameter",
    "Query",
    "QueryRoute",
    "RetriableError",
    "Review",
    "Row",
    "Rule",
    "Schedule",
    "ServiceRoute",
    "SetColumns",
    "Strategy",
    "SyncTime",
    "Table",
    "TableMapping",
    "Tie",
    "all_of",
    "first_of",
    "hookimpl",
    "insert_once",
    "merge_changed",
    "newest_wins",
    "not_before",
    "source_wins",
]

PROJECT = "sink_runner"

hookimpl = pluggy.HookimplMarker(PROJECT)
