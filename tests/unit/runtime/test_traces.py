"""Spans reach a real OTLP receiver; its failures, and its absence, harm nothing."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from sink_runner.config.telemetry import Telemetry
from sink_runner.errors import ConfigError, DecodeError, FatalError
from sink_runner.model.batch import Batch
from sink_runner.model.dead_letter import DeadLetter
from sink_runner.model.message import Message
from sink_runner.plugin import Column, FilterResult, TableMapping, source_wins
from sink_runner.runtime import trace_export
from sink_runner.runtime.telemetry import sending_traces
from sink_runner.runtime.traces import MappingTraces
from sink_runner.transform.hook_calls import Step
from sink_runner.transform.steps import Chain

from ...support.http_receiver import Receiver, receiving
from ...support.otlp import SentSpan, spans_of

MAPPING = TableMapping(
    source="north.public.people",
    target="south.public.persons",
    key=("id",),
    conflict=source_wins(),
    columns=(Column("id"),),
)
SERVER, INTERNAL, CONSUMER = 2, 1, 5
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SECRET = b"9876543210"


def message(offset: int, context: str = "", partition: int = 0) -> Message:
    headers = [("traceparent", context.encode())] if context else ()
    return Message("north.public.people", partition, offset, SECRET, SECRET, headers)


def traced(offset: int, trace: str = TRACE, flags: str = "01", partition: int = 0) -> Message:
    return message(offset, f"00-{trace}-{SPAN}-{flags}", partition)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENDPOINT", "HEADERS"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def sent(receiver: Receiver) -> Callable[..., list[SentSpan]]:
    """Return a function that ends one batch of these messages, and returns its spans."""

    def end(
        *messages: Message,
        fault: BaseException | None = None,
        prepare: Callable[[MappingTraces], object] = lambda _: None,
        **batch: Any,
    ) -> list[SentSpan]:
        with sending_traces(Telemetry(endpoint=receiver.url)) as traces:
            assert traces is not None
            mapping = traces.of_mapping("people", MAPPING)
            prepare(mapping)
            end_batch(mapping, *messages, fault=fault, **batch)
        return spans_of(receiver)

    return end


def end_batch(
    traces: MappingTraces, *messages: Message, fault: BaseException | None = None, **fields: Any
) -> None:
    parts: dict[int, list[Message]] = {}
    for one in messages:
        parts.setdefault(one.partition, []).append(one)
    now = time.monotonic()
    seconds = {"fetch": 0.1, "decode": 0.2, "transform": 0.3, "write": 1.0, "commit": 0.25}
    batch = Batch(began=now - 2.0, taken=time.time() - 2.1, seconds=seconds, **fields)
    batch.read = len(messages)
    batch.trace = traces.begin(parts)
    traces.end(batch, now - 1.25, {"written": len(messages), "dead": 0}, fault)


def by_name(spans: list[SentSpan]) -> dict[str, SentSpan]:
    return {span.name: span for span in spans}


def test_batch_is_a_span_with_its_steps(sent) -> None:
    spans = by_name(sent(message(5), message(6), message(3, partition=1)))
    whole = spans.pop("process north.public.people")
    assert spans.keys() == {"fetch", "decode", "transform", "write", "commit"}
    assert {span.parent for span in spans.values()} == {whole.id}
    assert {span.trace for span in spans.values()} == {whole.trace}
    assert (whole.kind, whole.parent, list(whole.links)) == (CONSUMER, "", [])
    expected = {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "north.public.people",
        "messaging.consumer.group.name": "sink.people",
        "messaging.batch.message_count": 3,
        "db.system.name": "postgresql",
        "db.namespace": "south",
        "db.collection.name": "public.persons",
        "sink.mapping": "people",
        "sink.offsets": ["0:5-6", "1:3-3"],
        "sink.events.written": 3,
    }
    assert whole.attributes == expected


def test_times_of_spans_are_those_noted(sent) -> None:
    spans = by_name(sent(message(5)))
    whole = spans["process north.public.people"]
    seconds = {name: (span.end - span.start) / 1e9 for name, span in spans.items()}
    assert seconds["decode"] == pytest.approx(0.2)
    assert seconds["transform"] == pytest.approx(0.3)
    assert seconds["commit"] == pytest.approx(0.25)
    assert spans["transform"].start == pytest.approx(spans["decode"].end, abs=2)
    assert spans["commit"].start == spans["write"].end
    assert spans["commit"].end == whole.end
    assert whole.start == min(span.start for span in spans.values())


def test_trace_of_an_event_ends_with_commit(sent) -> None:
    """The batch is linked to the event's context; the event's own span is in the event's trace."""
    spans = sent(traced(5), message(6))
    (event,) = [span for span in spans if span.trace == TRACE]
    (whole,) = [span for span in spans if span.name == event.name and span is not event]
    assert (event.parent, event.kind) == (SPAN, CONSUMER)
    assert whole.links == [(TRACE, SPAN)]
    assert event.links == [(whole.trace, whole.id)]
    assert (event.start, event.end) == (whole.start, whole.end)
    assert event.attributes["messaging.kafka.offset"] == 5
    assert event.attributes["messaging.destination.partition.id"] == "0"
    assert event.attributes["sink.outcome"] == "committed"


def test_unsampled_event_has_no_span(sent) -> None:
    spans = sent(traced(5, flags="00"))
    assert not [span for span in spans if span.trace == TRACE or span.links]


def test_links_of_a_batch_are_limited(sent) -> None:
    spans = sent(*[traced(n, f"{n + 1:032x}") for n in range(200)])
    (whole,) = [span for span in spans if len(span.links) > 1]
    assert len(whole.links) == 128
    assert len(spans) == 128 + 6


def test_dead_letter_marks_its_event(sent) -> None:
    bad, good = traced(5), traced(6, "1" * 32)
    dead_letter = DeadLetter(bad, DecodeError("9876543210"))
    spans = {span.trace: span for span in sent(bad, good, dead_letters=[dead_letter])}
    assert spans[TRACE].attributes["sink.outcome"] == "dead"
    assert spans[TRACE].error is not None
    assert spans["1" * 32].error is None


def test_failed_write_is_an_error(sent) -> None:
    spans = sent(traced(5), fault=FatalError("offsets are gone"))
    failed = [span for span in spans if span.error is not None]
    assert len(failed) == 2
    assert {span.error for span in failed} == {"sink_runner.errors.FatalError (offsets are gone)"}


def test_text_of_other_errors_is_hidden(sent) -> None:
    spans = sent(message(5), fault=ValueError("9876543210"))
    assert [span.error for span in spans if span.error is not None] == ["ValueError"]


def test_hooks_and_lookups_have_times(sent) -> None:
    def prepare(traces: MappingTraces) -> None:
        chain = traces.trace_steps(Chain(filters=(Step(lambda _: FilterResult.PASS, "people"),)))
        chain.filter(None)
        chain.filter(None)
        traces.trace_lookups(lambda _column, values: dict.fromkeys(values))("city", {"9876543210"})

    spans = by_name(sent(message(5), prepare=prepare))
    assert spans["transform"].attributes["sink.sink_filter.people.calls"] == 2
    assert spans["transform"].attributes["sink.sink_filter.people.seconds"] >= 0
    assert spans["lookup"].attributes == {"sink.column": "city", "sink.values": 1}


def test_next_batch_has_no_earlier_lookup_times(sent) -> None:
    def prepare(traces: MappingTraces) -> None:
        look_up = traces.trace_lookups(lambda _column, _values: {})
        look_up("city", {"x"})
        traces.begin({})  # of a batch that is still being written
        look_up("city", {"x"})
        traces.forget()  # of deferred events

    assert "lookup" not in by_name(sent(message(5), prepare=prepare))


def test_times_belong_to_their_batch(sent) -> None:
    def prepare(traces: MappingTraces) -> None:
        look_up = traces.trace_lookups(lambda _column, _values: {})
        look_up("city", {"x"})
        begun = traces.begin({})
        look_up("ward", {"x"})
        assert [one.column for one in begun.lookups] == ["city"]

    assert by_name(sent(message(5), prepare=prepare))["lookup"].attributes["sink.column"] == "ward"


def test_no_span_contains_key_or_value(sent) -> None:
    bad = traced(5)
    spans = sent(bad, dead_letters=[DeadLetter(bad, DecodeError("9876543210"))])
    assert [span.error for span in spans if span.trace == TRACE] == ["DecodeError"]
    assert "9876543210" not in str(spans)


def test_refusing_receiver_is_logged_once(receiver: Receiver, monkeypatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "5")
    receiver.statuses = [400, 400, 400]
    with capture_logs() as logs, sending_traces(Telemetry(endpoint=receiver.url)) as traces:
        mapping = traces.of_mapping("people", MAPPING)
        for offset in range(3):
            end_batch(mapping, message(offset))
            receiver.next()
    assert [one["event"] for one in logs] == ["traces_not_sent"]


def test_absent_receiver_ends_no_batch(receiver: Receiver, monkeypatch) -> None:
    monkeypatch.setattr(trace_export, "_SECONDS", 0.2)
    with receiving() as gone:
        pass
    with capture_logs() as logs, sending_traces(Telemetry(endpoint=gone.url)) as traces:
        for offset in range(500):
            end_batch(traces.of_mapping("people", MAPPING), message(offset))
    assert [one["event"] for one in logs] in ([], ["traces_not_sent"])


def test_endpoint_of_standard_variable_is_used(receiver: Receiver, monkeypatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{receiver.url}/")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=one")
    with sending_traces(Telemetry()) as traces:
        end_batch(traces.of_mapping("people", MAPPING), message(1))
    posted = receiver.next()
    assert (posted.path, posted.headers["x-key"]) == ("/v1/traces", "one")


def test_missing_extra_is_a_configuration_error(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "sink_runner.runtime.trace_export", None)
    with (
        pytest.raises(ConfigError, match=r"sink-runner\[telemetry\]"),
        sending_traces(Telemetry(endpoint="http://127.0.0.1:1")),
    ):
        pass


UNSET = """
import sys
from sink_runner.config.telemetry import Telemetry
from sink_runner.runtime import runner
from sink_runner.runtime.telemetry import sending_traces
with sending_traces(Telemetry()) as traces:
    assert traces is None
print([name for name in sys.modules if name.startswith(("opentelemetry", "google", "requests"))])
"""


def test_opentelemetry_is_not_imported_without_endpoint() -> None:
    found = subprocess.run(
        [sys.executable, "-c", UNSET], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_endpoint_with_password_is_refused() -> None:
    with pytest.raises(ValueError, match="endpoint holds a user or password"):
        Telemetry(endpoint="http://user:hunter2@127.0.0.1:4318")
