"""The hooks that a plugin may implement.

Every hook is optional.  It is a function of a module or a method of an object, declares any subset
of the parameters below, and cannot be a pluggy wrapper.  The event hooks run once per event in the
worker's loop, so they must be pure and must not block.
"""

from __future__ import annotations

from typing import Any

import pluggy
import psycopg

from .errors import EventError
from .plugin import PROJECT, Changes, Context, Event, FilterResult, HttpApi, Row, TableMapping

hookspec = pluggy.HookspecMarker(PROJECT)

# -- load: once per plugin, before the first event is read ----------------------------------------


@hookspec
def sink_mapping() -> TableMapping:
    """Declare the plugin's mapping of a source table to a target table.

    A plugin without `sink_mapping` and `sink_api` is global: its hooks run for every mapping.
    """
    raise NotImplementedError


@hookspec
def sink_api() -> HttpApi:
    """Declare routes of `sink-runner api`: events to publish, masked queries to answer.

    Without a mapping, the plugin may have no other hook than `sink_config`.
    """
    raise NotImplementedError


@hookspec
def sink_config() -> type[Any]:
    """Return a frozen dataclass whose fields are the settings of ``[plugins.<name>]``."""
    raise NotImplementedError


# -- event: once per event -------------------------------------------------------------------------


@hookspec
def sink_filter(event: Event, ctx: Context) -> FilterResult:
    """Return whether the row belongs in the target.

    The first result that is not PASS applies.  For a delete, the hook is called only if the mapping
    declares `Review`; its result says whether the deleted row belonged in the target.
    """
    raise NotImplementedError


@hookspec
def sink_map(event: Event, row: Row, ctx: Context) -> Row:
    """Return the target row.

    `row` holds the declared columns, converted but not yet masked.  Change values, and neither add
    nor remove columns.  A value that the policies mask for the target is a `MaskedValue` in `row`
    and in the event, unless `reads_unmasked` of the mapping lists its source column.

    The next plugin gets the returned row.  The quality rules of the columns are checked before the
    first plugin and after the last.
    """
    raise NotImplementedError


@hookspec
def sink_mask(row: Row, ctx: Context) -> Row:
    """Return `row` with more values masked than the policies demand, never fewer."""
    raise NotImplementedError


@hookspec(firstresult=True)
def sink_resolve_conflict(incoming: Row, current: Row, ctx: Context) -> Row | None:
    """Choose between the incoming row and the current row of the target.

    Called if both exist and differ.  Return one of them or a merged row: `current` skips the write,
    None lets the next plugin choose.  The result must not depend on which of the two rows is the
    incoming one, or the databases do not converge.

    Prefer a strategy of `Conflict` if one fits: with this hook, every batch first reads and locks
    the rows of its keys.
    """


# -- batch: once per batch and transaction -------------------------------------------------------


@hookspec(firstresult=True)
def sink_write(changes: Changes, connection: psycopg.Connection[Any], ctx: Context) -> int | None:
    """Write the batch inside the open transaction and return the number of rows written.

    None leaves the batch to the next plugin, and after the last plugin to the built-in writer.
    Never commit.  After a data error the transaction is rolled back, and the batch is written again
    in parts.
    """


@hookspec
def sink_batch_committed(changes: int, ctx: Context) -> None:
    """Called after a commit with the number of changes that it made durable."""


@hookspec
def sink_event_failed(event: Event | None, error: EventError, ctx: Context) -> None:
    """Called when an event has become a dead letter; `event` is None if it could not be decoded.

    Not called for a deferred event, which waits for a row that it refers to.  An exception that
    this hook raises is logged and otherwise ignored.
    """


# -- lifecycle: once per worker -------------------------------------------------------------------


@hookspec
def sink_startup(ctx: Context) -> None:
    """Acquire resources.  An exception quarantines the mapping, which is retried after a minute."""


@hookspec
def sink_shutdown(ctx: Context) -> None:
    """Release resources.  Called once for each plugin whose `sink_startup` was called."""
