"""The hooks a plugin may implement.

Every hook is optional, may be a module function or a method, and may take any subset of its
parameters.  None can be a wrapper: hooks are frozen into plain functions at start.  The event
hooks run once per event, inside the worker's loop: they must be pure and must not block.
"""

from __future__ import annotations

from typing import Any

import pluggy
import psycopg

from .errors import EventError
from .plugin import PROJECT, Changes, Context, Event, FilterResult, HttpApi, Row, TableMapping

hookspec = pluggy.HookspecMarker(PROJECT)

# -- load: called once per plugin, before anything is consumed -----------------------------------


@hookspec
def sink_mapping() -> TableMapping:
    """Declare the table mapping that this plugin serves.

    A plugin without this hook is global: its hooks join every mapping's chain.
    """
    raise NotImplementedError


@hookspec
def sink_api() -> HttpApi:
    """Declare routes of `sink-runner api`: events to publish, masked queries to answer.

    A plugin with this hook is not global.  Without a mapping it has no other hook than
    `sink_config`.
    """
    raise NotImplementedError


@hookspec
def sink_config() -> type[Any]:
    """Return the frozen dataclass that the plugin's ``[plugins.<name>]`` table is read into."""
    raise NotImplementedError


# -- event: once per event; frozen into the route at start ---------------------------------------


@hookspec
def sink_filter(event: Event, ctx: Context) -> FilterResult:
    """Say whether the row belongs in the target.

    The first answer that is not PASS holds.  Called for rows; a delete comes here only as
    the question whether the deleted row used to belong (`Review`).
    """
    raise NotImplementedError


@hookspec
def sink_map(event: Event, row: Row, ctx: Context) -> Row:
    """Return the target row.

    `row` holds the declared columns, mapped but not yet masked; change values, not names.  What
    the policies mask for the target is a `MaskedValue` here and in the event, unless the mapping
    lists its source column in `reads_unmasked`.
    What one plugin returns is the next one's `row`; the columns' quality rules hold of what
    the first is given and of what the last returns.
    """
    raise NotImplementedError


@hookspec
def sink_mask(row: Row, ctx: Context) -> Row:
    """Return `row` with more of it masked than the policies ask for; never with less."""
    raise NotImplementedError


@hookspec(firstresult=True)
def sink_resolve_conflict(incoming: Row, current: Row, ctx: Context) -> Row | None:
    """Choose between the row about to be written and the one the target holds.

    Only for a rule that no `Conflict` value expresses: every key of the batch is then read
    from the target first, locked.  Called when both exist and differ.  Return either of
    them, or a merged row; `current` skips the write; None has no opinion.  Stops at the
    first answer.  Must not depend on which side is which, or the databases will not converge.
    """


# -- batch: once per batch and transaction -------------------------------------------------------


@hookspec(firstresult=True)
def sink_write(changes: Changes, connection: psycopg.Connection[Any], ctx: Context) -> int | None:
    """Write the batch inside the open transaction and return the number of rows written.

    Stops at the first answer; None leaves the batch to the built-in writer.  Never commit.
    If the rows are at fault the transaction is rolled back and the batch comes again in parts.
    """


@hookspec
def sink_batch_committed(changes: int, ctx: Context) -> None:
    """So many changes are durable in the target, their offsets with them."""


@hookspec
def sink_event_failed(event: Event | None, error: EventError, ctx: Context) -> None:
    """An event became a dead letter; `event` is None if it could not be decoded.

    Called once, when it is one for good: not while it waits for a row that it needs.
    Raising here is logged and otherwise ignored.
    """


# -- lifecycle: once per worker -------------------------------------------------------------------


@hookspec
def sink_startup(ctx: Context) -> None:
    """Acquire resources.  Raising quarantines the mapping, which starts again a minute later."""


@hookspec
def sink_shutdown(ctx: Context) -> None:
    """Release them.  Called once for every plugin whose startup was called."""
