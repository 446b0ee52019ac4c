"""A worker's batches become spans, in the trace of the event that they apply."""

from collections.abc import Iterator
from typing import Any

import pytest

from sink_runner.config.telemetry import Telemetry
from sink_runner.errors import FatalError
from sink_runner.runtime.reporter import Observers
from sink_runner.runtime.telemetry import sending_traces

from ...support.http_receiver import Receiver, receiving
from ...support.otlp import SentSpan, spans_of

pytestmark = pytest.mark.postgres

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADERS = [("traceparent", f"00-{TRACE}-{SPAN}-01".encode())]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def run(harness: Any, receiver: Receiver, wait: Any, **options: Any) -> list[SentSpan]:
    """Run a worker until `wait` returns; return its spans."""
    with sending_traces(Telemetry(endpoint=receiver.url)) as traces:
        mapping = traces.of_mapping("staged", harness.target.mapping)
        observers = Observers(traces=mapping)
        worker, _, stop = harness.worker(observers=observers, **options)
        with harness.run(worker, stop) as running:
            wait(running)
    return spans_of(receiver)


def test_trace_of_event_ends_in_target(harness: Any, receiver: Receiver) -> None:
    harness.broker.send(0, 0)
    harness.broker.send(0, 1, headers=HEADERS)
    spans = run(harness, receiver, lambda _: harness.wait_for([0, 1]))
    (event,) = [span for span in spans if span.trace == TRACE]
    assert (event.parent, event.attributes["messaging.kafka.offset"]) == (SPAN, 1)
    (whole,) = [span for span in spans if span.links == [(TRACE, SPAN)]]
    inside = {span.name: span for span in spans if span.parent == whole.id}
    assert inside.keys() == {"fetch", "decode", "transform", "write", "commit"}
    order = [inside[name] for name in ("fetch", "decode", "transform", "write", "commit")]
    assert sorted(order, key=lambda span: span.start) == order
    assert whole.attributes["sink.events.written"] == 2
    assert whole.attributes["sink.offsets"] == ["0:0-1"]


def test_fatal_error_of_write_is_traced(harness: Any, receiver: Receiver) -> None:
    def fail(_: Any) -> None:
        raise FatalError("the end")

    harness.broker.send(0, 0, headers=HEADERS)
    spans = run(harness, receiver, lambda running: running.join(60), before_commit=fail)
    (event,) = [span for span in spans if span.trace == TRACE]
    assert event.attributes["sink.outcome"] == "failed"
    assert event.error == "sink_runner.errors.FatalError"
