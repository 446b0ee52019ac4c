"""Select the retried events that may be applied now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..errors import EventError, ExpiredError, WaitingError
from ..model.batch import Batch, WaitingKey
from ..model.dead_letter import DeadLetter, is_blocked
from ..model.message import ROWS, Message
from .deferred_events import DeferredEvent
from .superseding import Older, Superseding


class Selection(NamedTuple):
    """The outcome of retried events; the others stay deferred."""

    ended: list[DeferredEvent]
    """Events that are applied, or that fail finally."""
    obsolete: Sequence[DeferredEvent] = ()
    """Events of whose row a newer event is applied."""


class _Pass:
    """One pass over the events, in their order."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.errors = {
            id(dead_letter.message): dead_letter.error for dead_letter in batch.dead_letters
        }
        self.stopped: set[WaitingKey] = set()
        self.ended: dict[int, DeferredEvent] = {}
        self._final: dict[int, EventError] = {}

    def error(self, event: DeferredEvent) -> EventError | None:
        return event.fault or self.errors.get(id(event.message))

    def end(self, event: DeferredEvent, error: EventError | None = None) -> None:
        """Apply the event or, with an error, make it an open dead letter.

        A dead letter blocks its key, unless it is a row of a batch run.
        """
        self.ended[id(event.message)] = event
        if error is not None:
            self._final[id(event.message)] = error
            if event.key[0] != ROWS:
                self.stopped.add(event.key)

    def expire_or_stop(self, event: DeferredEvent, error: WaitingError) -> None:
        """Give the event up if it has waited for too long; otherwise its key stays blocked."""
        if event.expired:
            self.end(event, ExpiredError.of(error))
        else:
            self.stopped.add(event.key)

    def finish(self, obsolete: Sequence[DeferredEvent] = ()) -> Selection:
        """Keep in the batch the changes and defaults of ended events only."""
        batch = self.batch
        batch.dead_letters = [
            DeadLetter(self.ended[at].message, error) for at, error in self._final.items()
        ]
        keep(batch, lambda message: id(message) in self.ended)
        return Selection(list(self.ended.values()), obsolete)


def select_in_order(events: Sequence[DeferredEvent], batch: Batch) -> Selection:
    """Select the events to apply if each event waits for the earlier ones of its key.

    The first event of a key that still waits blocks the key, and so does one that fails or has
    waited for too long, unless it is a row of a batch run.
    """
    tried = _Pass(batch)
    for event in events:
        error = tried.error(event)
        if event.key in tried.stopped:
            continue
        if isinstance(error, WaitingError):
            tried.expire_or_stop(event, error)
        else:
            tried.end(event, error)
    return tried.finish()


def select_newest(
    events: Sequence[DeferredEvent], batch: Batch, superseding: Superseding
) -> Selection:
    """Select the events to apply if a whole row supersedes older dead letters of its row.

    The newest event of a key that can be applied makes all older ones obsolete.  Newer events wait
    or fail independently; an event that depends on its predecessors waits for them.
    """
    tried, obsolete = _Pass(batch), []
    whole = superseding.independent(batch.changes)
    changing = {id(change.source) for change in batch.changes}
    ready = [e for e in events if id(e.message) in whole and tried.error(e) is None]
    newest = {event.key: event for event in ready}
    for event in events:
        error, top = tried.error(event), newest.get(event.key)
        if top is not None and event.dlq_id < top.dlq_id:
            obsolete.append(event)
        elif event is top:
            superseding.rows[id(event.message)] = Older(event.key, event.dlq_id)
            tried.end(event)
        elif isinstance(error, WaitingError):
            tried.expire_or_stop(event, error)
        elif error is not None or id(event.message) not in changing:
            tried.end(event, error)
        elif event.first and top is None and event.key not in tried.stopped:
            tried.end(event)
        else:
            tried.stopped.add(event.key)
    return tried.finish(obsolete)


def keep(batch: Batch, wanted: Callable[[Message], bool]) -> None:
    """Keep only the changes and defaults of the wanted messages."""
    batch.changes = [change for change in batch.changes if wanted(change.source)]
    batch.defaults = [(message, name) for message, name in batch.defaults if wanted(message)]


def expire_refused(events: Sequence[DeferredEvent], dead_letters: list[DeadLetter]) -> None:
    """Give up the events among these dead letters that the target has refused for too long.

    They wait for a row that a foreign key or a lookup needs, which only a write detects.
    """
    expired = {id(event.message) for event in events if event.expired}
    for at, dead_letter in enumerate(dead_letters):
        error = dead_letter.error
        if (
            id(dead_letter.message) in expired
            and isinstance(error, WaitingError)
            and not is_blocked(error)
        ):
            dead_letters[at] = DeadLetter(dead_letter.message, ExpiredError.of(error))
