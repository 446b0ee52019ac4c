"""Events reach a real HTTP server in the published format; its failures harm nothing."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from sink_runner.config.database import find_database
from sink_runner.config.lineage import Lineage
from sink_runner.config.reader import Secret
from sink_runner.errors import ConfigError
from sink_runner.openlineage import client as module
from sink_runner.openlineage.client import LineageClient, sending, track
from sink_runner.openlineage.datasets import describe
from sink_runner.openlineage.events import Datasets, Job, JobKind, facet

from ...support.http_receiver import Receiver, receiving
from ...support.openlineage_spec import check_event
from .test_datasets import setup

__all__ = ["setup"]
JOB = Job(JobKind.BATCH, "golden-records")
TABLE = {"namespace": "postgres://h:5432", "name": "d.public.t", "facets": {}}


def datasets() -> Datasets:
    return Datasets([TABLE], [TABLE])


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def client(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    monkeypatch.setattr(module, "_SECONDS", 0.05)
    made: list[LineageClient] = []

    def make(**settings: Any) -> LineageClient:
        made.append(LineageClient(Lineage(**{"url": receiver.url} | settings)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def event_of(receiver: Receiver) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(receiver.next().body)
    check_event(event)
    return event


def test_run_starts_and_completes(client, receiver: Receiver) -> None:
    with track(client(namespace="prod"), JOB, datasets) as run:
        run.rows = 7
    start, end = event_of(receiver), event_of(receiver)
    assert (start["eventType"], end["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == end["run"]["runId"]
    assert (start["job"]["namespace"], start["job"]["name"]) == ("prod", "golden-records.batch")
    assert start["outputs"][0]["outputFacets"] == {}
    assert end["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 7


@pytest.mark.parametrize("kind", JobKind)
def test_real_mapping_meets_specification(client, receiver: Receiver, setup, kind) -> None:
    made = setup()
    with track(client(), Job(kind, "x"), lambda: describe(made, lambda: made.policies)):
        pass
    assert event_of(receiver)["outputs"][0]["facets"].keys() == {"schema", "columnLineage"}
    event_of(receiver)


def test_failure_has_text_of_own_errors(client, receiver: Receiver) -> None:
    with pytest.raises(ConfigError), track(client(), JOB, datasets):
        find_database({}, "atlantis")
    event_of(receiver)
    failed = event_of(receiver)
    assert failed["eventType"] == "FAIL"
    assert "unknown database 'atlantis'" in failed["run"]["facets"]["errorMessage"]["message"]


def test_failure_hides_text_of_other_errors(client, receiver: Receiver) -> None:
    with pytest.raises(ValueError, match="9876"), track(client(), JOB, datasets):
        raise ValueError("9876543210")
    event_of(receiver)
    message = event_of(receiver)["run"]["facets"]["errorMessage"]["message"]
    assert message == "ValueError"


def test_interrupted_run_is_aborted(client, receiver: Receiver) -> None:
    with track(client(), JOB, datasets) as run:
        run.aborted = True
    event_of(receiver)
    assert event_of(receiver)["eventType"] == "ABORT"


def test_open_run_reports_that_it_runs(client, receiver: Receiver) -> None:
    with track(client(running_seconds=0.01), JOB, datasets):
        types = [event_of(receiver)["eventType"] for _ in range(3)]
    assert types == ["START", "RUNNING", "RUNNING"]


def test_event_has_bearer_token(client, receiver: Receiver) -> None:
    keys = iter(["one", "two"])
    key = {"api_key": Secret(lambda: next(keys)), "allow_plaintext_credentials": True}
    with track(client(**key), JOB, datasets):
        pass
    tokens = [receiver.next().headers["Authorization"] for _ in range(2)]
    assert tokens == ["Bearer one", "Bearer two"]


def test_events_are_sent_after_an_outage(client, receiver: Receiver) -> None:
    """The receiver refuses three attempts; every event arrives, and the log has one warning."""
    receiver.statuses = [503, 500, 429]
    with capture_logs() as logs:
        made = client()
        with track(made, JOB, datasets):
            pass
        types = [event_of(receiver)["eventType"] for _ in range(5)]
    assert types == ["START", "START", "START", "START", "COMPLETE"]
    assert [one["event"] for one in logs] == ["lineage_not_sent"]
    assert "503" in logs[0]["reason"]


def test_refused_event_is_not_sent_again(client, receiver: Receiver) -> None:
    receiver.statuses = [400]
    with capture_logs() as logs:
        with track(client(), JOB, datasets):
            pass
        types = [event_of(receiver)["eventType"] for _ in range(2)]
    assert types == ["START", "COMPLETE"]
    assert ["400" in one["reason"] for one in logs] == [True]


def test_closing_sends_what_is_queued(receiver: Receiver) -> None:
    with sending(Lineage(url=receiver.url)) as client:
        for n in range(20):
            with track(client, Job(JobKind.BATCH, str(n)), datasets):
                pass
    assert receiver.posted.qsize() == 40


def test_full_queue_drops_events(client, receiver: Receiver, monkeypatch) -> None:
    """The thread waits in the first event, so that nothing leaves the queue."""
    monkeypatch.setattr(module, "_MOST_QUEUED", 3)
    entered, release = threading.Event(), threading.Event()

    def wait() -> Datasets:
        entered.set()
        release.wait(20)
        return datasets()

    made = client()
    with track(made, Job(JobKind.BATCH, "first"), wait):
        entered.wait(60)
        for n in range(10):
            with track(made, Job(JobKind.BATCH, str(n)), datasets):
                pass
        assert made._events.qsize() == 3
        release.set()
    names = [event_of(receiver)["job"]["name"] for _ in range(4)]
    assert names == ["first.batch", "0.batch", "0.batch", "1.batch"]


def test_unusable_description_ends_no_run(client, receiver: Receiver) -> None:
    def fail() -> Datasets:
        return find_database({}, "atlantis")

    with capture_logs() as logs:
        made = client()
        with track(made, JOB, fail):
            pass
        with track(made, JOB, datasets):
            pass
        event_of(receiver)
    assert [one["event"] for one in logs] == ["lineage_not_sent"]
    assert "unknown database 'atlantis'" in logs[0]["reason"]


def test_broken_description_blocks_no_other_run(client, receiver: Receiver) -> None:
    """A defect fails at each attempt, so the event is dropped and not sent again."""

    def fail() -> Datasets:
        raise KeyError("column")

    made = client()
    with track(made, JOB, fail):
        pass
    with track(made, JOB, datasets):
        pass
    assert event_of(receiver)["eventType"] == "START"


def test_nothing_is_sent_without_url() -> None:
    before = threading.active_count()
    with sending(Lineage()) as client, track(client, JOB, datasets) as run:
        run.rows = 1
        assert client is None
        assert threading.active_count() == before


def test_facet_has_published_schema() -> None:
    found = facet("schema", fields=[])["schema"]
    assert found["_schemaURL"].endswith("/1-2-0/SchemaDatasetFacet.json")
