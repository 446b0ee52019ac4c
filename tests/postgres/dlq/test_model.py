"""The target ends as a model expects, for random events, arrivals, crashes and takeovers."""

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
"""The key of a row, its customer, and the kind of event."""

CUSTOMERS = "ABC"
EVENTS = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.sampled_from(["known", *CUSTOMERS]),
        st.sampled_from(["row", "row", "row", "bad", "delete"]),
    ),
    min_size=1,
    max_size=4,
)
POINTS = ["taken", "written", "recorded", "settled", "committed"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), EVENTS),
        st.tuples(st.just("send overlapping"), EVENTS, EVENTS),
        st.tuples(st.just("add customer"), st.sampled_from(CUSTOMERS)),
        st.tuples(st.just("retry")),
        st.tuples(st.just("crash"), st.sampled_from(POINTS)),
        st.tuples(st.just("takeover")),
        st.tuples(st.just("replay")),
        st.tuples(st.just("discard")),
    ),
    max_size=12,
)


class Event(NamedTuple):
    """A sent event: a row whose note is the event's number or `bad`, or a deletion."""

    number: int
    note: str
    key: int
    customer: str
    kind: str


class Ending(NamedTuple):
    """A possible final state of a row and its dead letters."""

    note: str | None = None
    """The note of the row; None if there is no row."""
    dead_letters: Mapping[str, int] = {"PARKED": 0, "OPEN": 0}
    """The numbers of its deferred and its failed events."""
    may_write: Sequence[str] = ()
    """The notes that may have been written before, in this order."""

    def with_dead_letter(self, status: str) -> "Ending":
        return self._replace(
            dead_letters={**self.dead_letters, status: self.dead_letters[status] + 1}
        )


class Scenario:
    """The events sent to a shop, and the customers that its target has."""

    def __init__(self, shop: Any) -> None:
        self.shop = shop.another()
        self.sent: list[Event] = []
        self.customers = {"known"}
        self.discarded: set[int] = set()
        self.shop.target.admin.execute(
            "TRUNCATE customers, orders, written, sink.dead_letter, sink.row_version"
        )
        self.shop.customer("known")
        self.takeover()

    def samples(self, specs: Sequence[Spec]) -> list[Sample]:
        return [self._sample(spec) for spec in specs]

    def _sample(self, spec: Spec) -> Sample:
        key, customer, kind = spec
        number = len(self.sent) + 1
        note = "bad" if kind == "bad" else f"{number:03}"
        self.sent.append(Event(number, note, *spec))
        make = delete if kind == "delete" else create
        return make(id=key, note=note, customer=customer).at(NOW, number)

    def send(self, specs: Sequence[Spec]) -> None:
        samples, position = self.samples(specs), self.shop.target.at
        try:
            self.shop.send(*samples)
        except RetriableError:
            self.takeover()
            if self.shop.target.at == position:  # nothing was committed
                self.shop.send(*samples)

    def send_overlapping(self, first: Sequence[Spec], second: Sequence[Spec]) -> None:
        """Decode the second batch while the first is written, as the worker does."""
        self.takeover()  # a new runner has no crash pending from an earlier step
        target = self.shop.target
        batches = []
        for specs in (first, second):
            free, held = target.waiting.split(target.messages(*self.samples(specs)))
            batches.append((target.prepare(free), held))
        for batch, held in batches:
            target.waiting.hold(batch, held)
            target.apply(batch)

    def add_customer(self, customer: str) -> None:
        if customer not in self.customers:
            self.customers.add(customer)
            self.shop.customer(customer)

    def retry(self) -> None:
        try:
            self.shop.retry()
        except RetriableError:
            self.takeover()

    def replay(self) -> None:
        """Request replays as `sink-runner dlq replay` does; a bad row fails again."""
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
        position = dead_letter["topic"], dead_letter["partition"], dead_letter["offset"]
        value = target.encryptor.decrypt(dead_letter["source_data"], *position).value
        return target.samples._decoded[int.from_bytes(value[1:5])].lsn

    def crash(self, point: str) -> None:
        self.shop.crash_after(point)

    def takeover(self) -> None:
        previous, self.shop = self.shop, self.shop.another()
        statuses = self.shop.statuses()
        with suppress(FencedError, RetriableError):
            previous.retry()
        assert self.shop.statuses() == statuses, "a fenced runner replayed an event"
        previous.target.close()

    def retry_until_stable(self) -> None:
        self.takeover()
        while self.shop.target.waiting.keys:
            before = self.shop.statuses()
            self.shop.retry()
            if self.shop.statuses() == before:
                break

    def endings(self, events: Sequence[Event]) -> list[Ending]:
        """Return the possible endings of a row with these events, without the discarded ones."""
        endings = [Ending()]
        for event, after in pairwise([*events, None]):
            ready = [ending for ending in endings if self._is_ready(event, ending)]
            endings = [self._apply(event, ending) for ending in endings]
            if event.kind == "bad" and after and after.kind == "delete":
                endings += ready  # in one batch, a deletion replaces the row before it
        return endings

    def _is_ready(self, event: Event, ending: Ending) -> bool:
        is_blocked = ending.dead_letters["PARKED"] or ending.dead_letters["OPEN"]
        return not is_blocked and (event.kind == "delete" or event.customer in self.customers)

    def _apply(self, event: Event, ending: Ending) -> Ending:
        if not self._is_ready(event, ending):
            return ending.with_dead_letter("PARKED")
        if event.kind == "bad":
            return ending.with_dead_letter("OPEN")
        if event.kind == "delete":
            return ending._replace(note=None)
        return ending._replace(note=event.note, may_write=[*ending.may_write, event.note])


class SupersedingScenario(Scenario):
    """A scenario in which a newer whole row supersedes older dead letters of its row."""

    def endings(self, events: Sequence[Event]) -> list[Ending]:
        ending, is_superseded = Ending(), False
        for event in reversed(events):
            has_customer = event.customer in self.customers
            if event.kind == "row" and has_customer:
                note = ending.note if is_superseded else event.note
                ending = ending._replace(note=note, may_write=[event.note, *ending.may_write])
                is_superseded = True
            elif event.kind == "delete":
                is_superseded = True
            elif not is_superseded:
                ending = ending.with_dead_letter("OPEN" if has_customer else "PARKED")
        return [ending]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_target_ends_as_if_events_kept_order(shop: Any, steps: Sequence[tuple[Any, ...]]) -> None:
    scenario = Scenario(shop)
    try:
        for name, *rest in steps:
            getattr(scenario, name.replace(" ", "_"))(*rest)
        scenario.retry_until_stable()
        check_endings(scenario)
    finally:
        scenario.shop.target.close()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_newest_applicable_row_stays(
    superseding_shop: Any, steps: Sequence[tuple[Any, ...]]
) -> None:
    scenario = SupersedingScenario(superseding_shop)
    try:
        for name, *rest in steps:
            getattr(scenario, name.replace(" ", "_"))(*rest)
        scenario.retry_until_stable()
        check_endings(scenario)
    finally:
        scenario.shop.target.close()


def check_endings(scenario: Scenario) -> None:
    shop = scenario.shop
    notes, written = shop.notes(), _written(shop)
    dead_letters = defaultdict(Counter)
    unsettled = (
        dead_letter
        for dead_letter in shop.target.dead()
        if dead_letter["status"] in Ending().dead_letters
    )
    for dead_letter in unsettled:  # the payload of a settled one is deleted
        dead_letters[scenario.sent[scenario._number(dead_letter) - 1].key][
            dead_letter["status"]
        ] += 1
    remaining = [event for event in scenario.sent if event.number not in scenario.discarded]
    for key in range(1, 4):
        endings = scenario.endings([event for event in remaining if event.key == key])
        found = (
            notes.get(key),
            {status: dead_letters[key][status] for status in Ending().dead_letters},
        )
        assert found in [(ending.note, ending.dead_letters) for ending in endings]
        assert all(one < other for one, other in pairwise(written[key])), "repeated or reordered"
        assert any(set(written[key]) <= set(ending.may_write) for ending in endings)


def _written(shop: Any) -> dict[int, list[str]]:
    found = defaultdict(list)
    for row in shop.target.admin.execute("SELECT id, note FROM written ORDER BY n"):
        found[row["id"]].append(row["note"])
    return found
