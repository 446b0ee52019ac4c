"""Whatever the order in which events and the rows they need come, and whatever dies meanwhile."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sink_runner.errors import FencedError, RetriableError
from sink_runner.testing import NOW, Sample, create, delete

pytestmark = pytest.mark.postgres

Spec = tuple[int, str, str]
"""A key, a customer and what happens to the row."""

CUSTOMERS = "ABC"
EVENTS = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.sampled_from(["known", *CUSTOMERS]),
        st.sampled_from(["row", "row", "row", "bad", "gone"]),
    ),
    min_size=1,
    max_size=4,
)
POINTS = ["taken", "written", "recorded", "settled", "committed"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), EVENTS),
        st.tuples(st.just("send at once"), EVENTS, EVENTS),
        st.tuples(st.just("arrives"), st.sampled_from(CUSTOMERS)),
        st.tuples(st.just("retry")),
        st.tuples(st.just("crash"), st.sampled_from(POINTS)),
        st.tuples(st.just("takeover")),
        st.tuples(st.just("replay")),
        st.tuples(st.just("discard")),
    ),
    max_size=12,
)


class Event(NamedTuple):
    """What was sent: a row of its own number, which has this note, or its deletion."""

    number: int
    note: str
    key: int
    customer: str
    what: str


class Ending(NamedTuple):
    """How a row ended."""

    note: str | None = None
    """None: there is no such row."""
    kept: Mapping[str, int] = {"PARKED": 0, "OPEN": 0}
    """How many of its events wait or failed."""
    may: Sequence[str] = ()
    """What may have been written on the way, in this order."""

    def with_dead_letter(self, status: str) -> "Ending":
        return self._replace(kept={**self.kept, status: self.kept[status] + 1})


class Story:
    """What was sent to and what arrived in a shop whose runners come and go."""

    def __init__(self, shop: Any) -> None:
        self.shop = shop.another()
        self.sent: list[Event] = []
        self.arrived = {"known"}
        self.discarded: set[int] = set()
        self.shop.target.admin.execute(
            "TRUNCATE customers, orders, written, sink.dead_letter, sink.row_version"
        )
        self.shop.customer("known")
        self.takeover()

    def samples(self, specs: Sequence[Spec]) -> list[Sample]:
        return [self._sample(spec) for spec in specs]

    def _sample(self, spec: Spec) -> Sample:
        key, customer, what = spec
        number = len(self.sent) + 1
        note = "bad" if what == "bad" else f"{number:03}"
        self.sent.append(Event(number, note, *spec))
        make = delete if what == "gone" else create
        return make(id=key, note=note, customer=customer).at(NOW, number)

    def send(self, specs: Sequence[Spec]) -> None:
        samples, stood = self.samples(specs), self.shop.target.at
        try:
            self.shop.send(*samples)
        except RetriableError:
            self.takeover()
            if self.shop.target.at == stood:  # nothing of it was committed
                self.shop.send(*samples)

    def send_at_once(self, first: Sequence[Spec], second: Sequence[Spec]) -> None:
        """As the worker does: the second is decoded while the first is being written."""
        self.takeover()  # no crash of an earlier step is still to come
        target = self.shop.target
        batches = []
        for specs in (first, second):
            free, held = target.waiting.split(target.messages(*self.samples(specs)))
            batches.append((target.prepare(free), held))
        for batch, held in batches:
            target.waiting.hold(batch, held)
            target.apply(batch)

    def arrives(self, customer: str) -> None:
        if customer not in self.arrived:
            self.arrived.add(customer)
            self.shop.customer(customer)

    def retry(self) -> None:
        try:
            self.shop.retry()
        except RetriableError:
            self.takeover()

    def replay(self) -> None:
        """As `sink-runner dlq replay` does it; what was bad is bad still."""
        self.shop.target.admin.execute(
            "UPDATE sink.dead_letter SET status = 'PARKED' WHERE status = 'OPEN'"
        )

    def discard(self) -> None:
        admin = self.shop.target.admin
        found = admin.execute("SELECT * FROM sink.dead_letter WHERE status = 'OPEN'")
        self.discarded.update(map(self._number, found))
        admin.execute("UPDATE sink.dead_letter SET status = 'DISCARDED' WHERE status = 'OPEN'")

    def _number(self, dead_letter: Any) -> int:
        target = self.shop.target
        place = dead_letter["topic"], dead_letter["partition"], dead_letter["offset"]
        value = target.encryptor.decrypt(dead_letter["source_data"], *place).value
        return target.samples._decoded[int.from_bytes(value[1:5])].lsn

    def crash(self, point: str) -> None:
        self.shop.crash(point)

    def takeover(self) -> None:
        before, self.shop = self.shop, self.shop.another()
        statuses = self.shop.statuses()
        with suppress(FencedError, RetriableError):
            before.retry()
        assert self.shop.statuses() == statuses, "a runner that was fenced off replayed"
        before.target.close()

    def drain(self) -> None:
        self.takeover()
        while self.shop.target.waiting.keys:
            before = self.shop.statuses()
            self.shop.retry()
            if self.shop.statuses() == before:
                break

    def endings(self, events: Sequence[Event]) -> list[Ending]:
        """How a row may end, of which these are all events that were not discarded."""
        found = [Ending()]
        for event, after in pairwise([*events, None]):
            ready = [ending for ending in found if self._is_ready(event, ending)]
            found = [self._after(event, ending) for ending in found]
            if event.what == "bad" and after and after.what == "gone":
                found += ready  # in one batch a deletion stands for the row before it
        return found

    def _is_ready(self, event: Event, ending: Ending) -> bool:
        waits = ending.kept["PARKED"] or ending.kept["OPEN"]
        return not waits and (event.what == "gone" or event.customer in self.arrived)

    def _after(self, event: Event, ending: Ending) -> Ending:
        if not self._is_ready(event, ending):
            return ending.with_dead_letter("PARKED")
        if event.what == "bad":
            return ending.with_dead_letter("OPEN")
        if event.what == "gone":
            return ending._replace(note=None)
        return ending._replace(note=event.note, may=[*ending.may, event.note])


class Replacing(Story):
    """The same where a newer whole row supersedes older dead letters of its row."""

    def endings(self, events: Sequence[Event]) -> list[Ending]:
        ending, settled = Ending(), False
        for event in reversed(events):
            arrived = event.customer in self.arrived
            if event.what == "row" and arrived:
                note = ending.note if settled else event.note
                ending = ending._replace(note=note, may=[event.note, *ending.may])
                settled = True
            elif event.what == "gone":
                settled = True
            elif not settled:
                ending = ending.with_dead_letter("OPEN" if arrived else "PARKED")
        return [ending]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_target_ends_as_if_events_kept_order(shop: Any, steps: Sequence[tuple[Any, ...]]) -> None:
    story = Story(shop)
    try:
        for name, *rest in steps:
            getattr(story, name.replace(" ", "_"))(*rest)
        story.drain()
        check(story)
    finally:
        story.shop.target.close()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_newest_applicable_row_stays(replacing: Any, steps: Sequence[tuple[Any, ...]]) -> None:
    story = Replacing(replacing)
    try:
        for name, *rest in steps:
            getattr(story, name.replace(" ", "_"))(*rest)
        story.drain()
        check(story)
    finally:
        story.shop.target.close()


def check(story: Story) -> None:
    shop = story.shop
    notes, written = shop.notes(), _written(shop)
    kept = defaultdict(Counter)
    unsettled = (
        dead_letter for dead_letter in shop.target.dead() if dead_letter["status"] in Ending().kept
    )
    for dead_letter in unsettled:  # the payload of a settled one is gone
        kept[story.sent[story._number(dead_letter) - 1].key][dead_letter["status"]] += 1
    stayed = [event for event in story.sent if event.number not in story.discarded]
    for key in range(1, 4):
        endings = story.endings([event for event in stayed if event.key == key])
        found = notes.get(key), {status: kept[key][status] for status in Ending().kept}
        assert found in [(ending.note, ending.kept) for ending in endings]
        assert all(one < other for one, other in pairwise(written[key])), "doubled or overtaken"
        assert any(set(written[key]) <= set(ending.may) for ending in endings)


def _written(shop: Any) -> dict[int, list[str]]:
    found = defaultdict(list)
    for row in shop.target.admin.execute("SELECT id, note FROM written ORDER BY n"):
        found[row["id"]].append(row["note"])
    return found
