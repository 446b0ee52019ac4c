"""Whatever the order in which events and the rows they need come, and whatever dies meanwhile."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

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


class Story:
    """What was sent and what arrived, told to a shop whose runners come and go."""

    def __init__(self, shop: Any) -> None:
        self.shop = shop.another()
        self.sent: list[tuple[str, Spec]] = []
        self.arrived = {"known"}
        self.discarded: set[int] = set()
        self.shop.target.admin.execute(
            "TRUNCATE customers, orders, written, sync_dlq, sink.row_version"
        )
        self.shop.customer("known")
        self.takeover()

    def samples(self, specs: Sequence[Spec]) -> list[Sample]:
        return [self._sample(spec) for spec in specs]

    def _sample(self, spec: Spec) -> Sample:
        key, customer, what = spec
        number = len(self.sent) + 1
        note = "bad" if what == "bad" else f"{number:03}"
        self.sent.append((note, spec))
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
            free, held = target.waiting.split(target.harness.messages(*self.samples(specs)))
            batches.append((target.harness.prepare(free), held))
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
            "UPDATE sync_dlq SET status = 'PARKED' WHERE status = 'OPEN'"
        )

    def discard(self) -> None:
        target = self.shop.target
        found = target.admin.execute(
            "UPDATE sync_dlq SET status = 'DISCARDED' WHERE status = 'OPEN' RETURNING *"
        )
        for row in found:
            place = row["topic"], row["partition"], row["offset"]
            value = target.sealer.open(row["source_data"], *place).value
            self.discarded.add(target.harness._decoded[int.from_bytes(value[1:5])].lsn)

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

    def model(self) -> tuple[dict[int, str], dict[str, int], dict[int, list[str]]]:
        """The rows, how many events wait or failed, and which may have been written, by key."""
        rows: dict[int, str] = {}
        may: dict[int, list[str]] = defaultdict(list)
        stopped: set[int] = set()
        kept = {"PARKED": 0, "OPEN": 0}
        for number, (note, (key, customer, what)) in enumerate(self.sent, start=1):
            if number in self.discarded:
                continue
            if key in stopped or (what != "gone" and customer not in self.arrived):
                stopped.add(key)
                kept["PARKED"] += 1
            elif what == "bad":
                stopped.add(key)
                kept["OPEN"] += 1
            elif what == "gone":
                rows.pop(key, None)
            else:
                rows[key] = note
                may[key].append(note)
        return rows, kept, may


class Replacing(Story):
    """The same where a newer whole row supersedes older dead letters of its row."""

    def model(self) -> tuple[dict[int, str], dict[str, int], dict[int, list[str]]]:
        rows: dict[int, str] = {}
        may: dict[int, list[str]] = defaultdict(list)
        kept = {"PARKED": 0, "OPEN": 0}
        settled: set[int] = set()
        for number in range(len(self.sent), 0, -1):
            note, (key, customer, what) = self.sent[number - 1]
            can_be_applied = what == "gone" or (what == "row" and customer in self.arrived)
            if can_be_applied and what == "row":
                may[key].insert(0, note)
                rows.setdefault(key, "" if key in settled else note)
            if can_be_applied:
                settled.add(key)
            elif key not in settled and number not in self.discarded:
                kept["OPEN" if customer in self.arrived else "PARKED"] += 1
        return {key: note for key, note in rows.items() if note}, kept, may


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
def test_it_ends_as_if_each_event_had_waited_in_its_place(
    shop: Any, steps: Sequence[tuple[Any, ...]]
) -> None:
    story = Story(shop)
    try:
        for name, *rest in steps:
            getattr(story, name.replace(" ", "_"))(*rest)
        story.drain()
        check(story)
    finally:
        story.shop.target.close()


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
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
    rows, kept, may = story.model()
    assert story.shop.notes() == rows
    statuses = Counter(story.shop.statuses())
    assert {status: statuses[status] for status in kept} == kept
    for key, notes in _written(story.shop).items():
        assert all(one < other for one, other in pairwise(notes)), "doubled or overtaken"
        assert set(notes) <= set(may[key])


def _written(shop: Any) -> dict[int, list[str]]:
    found = defaultdict(list)
    for row in shop.target.admin.execute("SELECT id, note FROM written ORDER BY n"):
        found[row["id"]].append(row["note"])
    return found
