"""Run one mapping's loop: poll, decode, transform, and pass the batch to the writing thread.

While that thread waits for the database, the next batch is decoded.  Memory holds at most these two
batches, each bounded in bytes, and the records that the client has fetched ahead.  So a slow target
only slows the polling.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

import structlog

from ..control.store import Wanted
from ..error_text import log_errors, text_of
from ..errors import AccessError, BatchDroppedError, EventError, RetriableError, StoppedError
from ..kafka.feed import Bounds, Feed
from ..kafka.liveness import BrokerLiveness
from ..kafka.log_checks import LogChecks
from ..kafka.topic_identity import TopicWatch
from ..model.batch import Batch
from ..model.message import Message
from ..model.partition import Advance, Claim
from ..model.portions import byte_size, record_portions
from ..model.status import MappingHealth
from ..pipeline import Pipeline
from ..preflight.source_watch import Watch
from ..retry import Retrier
from ..transform.tombstones import TombstoneFilter
from .operator_watch import OperatorWatch
from .reporter import NO_OBSERVERS, Observers, Reporter
from .worker_settings import WorkerSettings

T = TypeVar("T")

_POLL_SECONDS = 0.2  # seconds until an idle worker notices that it should stop


class Worker:
    """Keeps one mapping's target up to date until `stop` is set."""

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        topic_watch: TopicWatch,
        feed: Callable[[], Feed],
        liveness: BrokerLiveness,
        refresh: Callable[[], object],
        settings: WorkerSettings,
        health: MappingHealth,
        stop: threading.Event,
        watches: Sequence[Watch] = (),
        wanted: Callable[[], Wanted] = Wanted,
        observers: Observers = NO_OBSERVERS,
    ) -> None:
        self._open_feed = feed
        self._pipeline = pipeline
        self._committer = pipeline.committer
        self._retry_queue = pipeline.retry_queue
        self._liveness = liveness
        self._refresh = refresh
        self._settings = settings
        self._stop = stop
        self._watches = watches
        self._operator = OperatorWatch(wanted, health, pipeline.name)
        self._claims: dict[int, Claim] = {}
        self._sought: dict[int, int | None] = {}
        self._pending: Future[None] | None = None
        self._maintained_at = time.monotonic()
        self._log = structlog.get_logger().bind(mapping=pipeline.name)
        self._tombstones = TombstoneFilter()
        self._checks = LogChecks(
            pipeline.name,
            watch=topic_watch,
            bounds=self._bounds,
            retry=self._retry,
            log=self._log,
        )
        # One for each thread: they wait independently.
        self._retrier, self._writing_retrier = (
            Retrier(settings.retry, stop, self._log, health) for _ in range(2)
        )
        self._writer = ThreadPoolExecutor(1, thread_name_prefix=f"write-{pipeline.name}")
        self._feed: Feed
        self._reporter = Reporter(pipeline, health, self._log, observers)
        self.counts = self._reporter.counts
        self.turned = time.monotonic()
        """When the last iteration of the loop began, by the monotonic clock."""

    def run(self) -> None:
        """Work until `stop` is set.  Raises FatalError or ConfigError."""
        try:
            self._pipeline.compiled.hooks.startup()
            with self._reporter.lineage, suppress(StoppedError):
                self._loop()
        finally:
            self._writer.shutdown(cancel_futures=True)
            self._pipeline.close()
            for watch in self._watches:
                watch.close()
            self._pipeline.compiled.hooks.shutdown()

    def _loop(self) -> None:
        self._feed = self._retry(self._open_feed)
        try:
            while not self._stop.is_set():
                self._iterate()
            self._finish_pending()
        finally:
            self._feed.close()

    def cancel(self) -> None:
        """Roll back what is being written, from another thread, after `stop` was set."""
        self._committer.session.cancel()

    def _iterate(self) -> None:
        self.turned = time.monotonic()
        paused = self._retry(partial(self._operator.follow, self._claims))
        polled = {} if paused else self._retry(self._gather)
        self._reporter.fetched(polled, self.turned)
        # After the poll, so that records that arrived during it are masked by current policies.
        self._retry(self._follow_policies)
        try:
            self._checks.check_when_due()
            # Records of new partitions were polled before the seek, from Kafka's committed offset.
            stale = self._take_over()
            if paused:
                self._finish_pending()
                self._stay_member()
                self._stop.wait(_POLL_SECONDS)
                return
            records = {
                partition: part
                for partition, part in polled.items()
                if partition not in stale and self._is_next(partition, part[0].offset)
            }
            for partition, part in records.items():
                self._checks.check_epochs(partition, self._claims[partition], part)
            if self._retry_queue.due():
                self._retry_deferred()
            if records:
                self._submit_portions(records)
            elif self._pending is not None and self._pending.done():
                self._finish_pending()
            if time.monotonic() - self._maintained_at > self._settings.maintenance_seconds:
                self._maintain()
        except BatchDroppedError as fault:
            self._log.warning("batch_dropped", reason=text_of(fault))
            self._pending = None
            self._claims.clear()

    def _gather(self) -> dict[int, list[Message]]:
        """Poll, then poll for more records of the batch until the linger time is over."""
        found = {partition: list(part) for partition, part in self._poll(_POLL_SECONDS).items()}
        deadline = time.monotonic() + self._settings.linger
        while found and (left := deadline - time.monotonic()) > 0 and self._has_room(found):
            for partition, part in self._poll(left).items():
                known = found.setdefault(partition, [])
                # After a rebalance the offsets may have a gap; then `_is_next` will seek.
                if not known or part[0].offset == known[-1].offset + 1:
                    known.extend(part)
        return found

    def _poll(self, seconds: float) -> Mapping[int, Sequence[Message]]:
        found = self._feed.poll(seconds)
        self._liveness.observe(self._feed, received=bool(found))
        return found

    def _follow_policies(self) -> None:
        """Mask by the current policies; without any, raise and keep the group membership."""
        try:
            self._refresh()
        except RetriableError:
            self._stay_member()
            raise

    def _stay_member(self) -> None:
        with suppress(AccessError, RetriableError):  # the next poll raises the same error
            self._feed.keep_alive()

    def _has_room(self, found: Mapping[int, Sequence[Message]]) -> bool:
        """Return whether a batch of these records is smaller than the limits."""
        parts, settings = found.values(), self._settings
        return sum(map(len, parts)) < settings.max_batch_rows and (
            sum(byte_size(message) for part in parts for message in part) < settings.max_bytes
        )

    # -- ownership ---------------------------------------------------------------------------

    def _take_over(self) -> set[int]:
        """Claim newly assigned partitions and seek to the target's offsets; drop lost partitions.

        Returns the new partitions.
        """
        new = self._feed.assignment() - self._claims.keys()
        self._drop_lost()
        if not new:
            return new
        self._finish_pending()
        self._claims.update(self._in_background(lambda: self._committer.claim(new)))
        self._in_background(lambda: self._retry_queue.load(new))
        self._reporter.claimed({p: self._claims[p] for p in new})
        self._drop_lost()  # the group may have rebalanced meanwhile
        self._tombstones.forget(new)
        for partition in new & self._claims.keys():
            self._checks.check_claim(partition, self._claims[partition])
            self._seek(partition, self._claims[partition].next_offset)
        self._log.info("partitions_claimed", partitions=sorted(new))
        return new

    def _drop_lost(self) -> None:
        for partition in self._claims.keys() - self._feed.assignment():
            del self._claims[partition]

    def _seek(self, partition: int, offset: int | None) -> None:
        self._feed.seek(partition, offset)
        self._sought[partition] = offset

    def _is_next(self, partition: int, offset: int) -> bool:
        """Return whether `offset` is the next to apply; if not, seek to the one that is."""
        claim = self._claims.get(partition)
        if claim is None:
            return False
        sought = self._sought.pop(partition, -1)
        expected = claim.next_offset
        if offset == expected:
            return True
        if sought == -1:
            self._checks.check_topic()  # Kafka moved the offset, not a seek of this worker
        if expected is not None and offset < expected:
            self._checks.check_log(partition, expected, claim.leader_epoch)
        elif sought == expected and self._checks.passes(partition, expected, offset):
            return True
        self._seek(partition, expected)
        return False

    def _bounds(self, partition: int) -> Bounds:
        return self._feed.bounds(partition)

    # -- one batch ---------------------------------------------------------------------------

    def _submit_portions(self, records: Mapping[int, Sequence[Message]]) -> None:
        for portion in record_portions(records, self._settings.max_bytes):
            if self._stop.is_set():  # after a restart, the rest is read again
                return
            self._submit(portion)

    def _submit(self, records: Mapping[int, Sequence[Message]]) -> None:
        messages = self._tombstones.select(records)
        free, held = self._retry_queue.split(messages)
        batch = self._prepare(free, polled=True)
        self._finish_pending()
        self._retry_queue.hold(batch, held)
        steps = [self._advance(partition, part[-1]) for partition, part in records.items()]
        self._reporter.submitted(batch, records, len(messages))
        self._pending = self._writer.submit(self._write, batch, steps)

    def _advance(self, partition: int, last: Message) -> Advance:
        claim = self._claims[partition]
        advanced = Claim(claim.epoch, last.offset + 1, last.leader_epoch)
        self._claims[partition] = advanced
        return Advance(
            partition, claim.epoch, claim.next_offset, advanced.next_offset, advanced.leader_epoch
        )

    def _prepare(self, messages: Sequence[Message], *, polled: bool = False) -> Batch:
        decoded = self._retry(partial(self._pipeline.decode, messages))
        for watch in self._watches if polled else ():
            self._retry(partial(watch.observe, decoded.events))
        return self._retry(partial(self._pipeline.transform, decoded))

    def _write(self, batch: Batch, steps: Sequence[Advance]) -> None:
        """In the writing thread, write the batch, with retries until `stop` is set."""
        with self._reporter.writing(batch):
            self._writing_retrier(lambda again: self._committer.apply(batch, steps, again=again))
        deferred = self._retry_queue.record_committed(batch.dead_letters, batch.superseding)
        self._reporter.committed(batch, steps, deferred=deferred)

    def _finish_pending(self) -> None:
        """Wait for the batch that is being written, then commit the offsets to Kafka as a copy."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._await(pending)
            self._feed.mirror(
                {p: c.next_offset for p, c in self._claims.items() if c.next_offset is not None}
            )

    def _maintain(self) -> None:
        self._finish_pending()
        self._maintained_at = time.monotonic()
        # A data error in maintenance must not block events.
        with log_errors(self._log, "maintenance_failed", EventError):
            self._in_background(
                lambda: self._committer.maintain(self._settings.tombstone_retention)
            )
        for watch in self._watches:
            watch.maintain()

    def _retry_deferred(self) -> None:
        """Retry deferred events, while no batch that could overtake them is being written."""
        self._finish_pending()
        claims = dict(self._claims)
        batch, _ = self._in_background(lambda: self._retry_queue.retry(claims, self._prepare))
        self._reporter.retried(batch)

    # -- retrying ---------------------------------------------------------------

    def _in_background(self, work: Callable[[], T]) -> T:
        return self._await(self._writer.submit(self._writing_retrier, lambda _again: work()))

    def _await(self, future: Future[T]) -> T:
        """Wait for the writing thread; stay a member of the group meanwhile."""
        while True:
            try:
                return future.result(timeout=_POLL_SECONDS)
            except TimeoutError:
                if future.done():  # the work ended just now, or raised a TimeoutError itself
                    return future.result()
                self._stay_member()

    def _retry(self, work: Callable[[], T]) -> T:
        return self._retrier(lambda _again: work())
