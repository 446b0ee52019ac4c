"""Batch and reconciliation runs report what they read and write, column by column."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from sink_runner.config.lineage import Lineage
from sink_runner.errors import ConfigError
from sink_runner.loading import discovery
from sink_runner.reconcile import session
from sink_runner.reconcile.options import Options

from ...support.http_receiver import Receiver, receiving
from ...support.openlineage_spec import check_event
from ..batch.conftest import stopper
from ..reconcile.conftest import pair
from ..reconcile.test_comparing import people

pytestmark = pytest.mark.postgres
__all__ = ["pair", "people", "stopper"]

BROKEN = """
from sink_runner.plugin import hookimpl

@hookimpl
def sink_startup():
    raise ValueError("9876543210")
"""


@pytest.fixture
def receiver(people) -> Iterator[Receiver]:
    """Receive the lineage of the pair of databases."""
    with receiving() as found:
        people.lineage = Lineage(url=found.url)
        yield found


def events_of(receiver: Receiver) -> list[dict[str, Any]]:
    """Return the events that have arrived: valid ones without a value of a row."""
    bodies = [posted.body.decode() for posted in receiver.all()]
    assert "Person" not in str(bodies)
    assert "77777" not in str(bodies), "a part of an Aadhaar number"
    events = [json.loads(body) for body in bodies]
    for event in events:
        check_event(event)
    return events


def reconcile(people: Any, **options: Any) -> Any:
    plugin = discovery.installed()["golden-records"]
    discovery.load(plugin)
    return session.run(
        plugin, [plugin], people.config(), Options(**options), stop=threading.Event()
    )


def test_batch_reports_tables_columns_and_masks(people, receiver: Receiver) -> None:
    """A dry run writes nothing, and reports nothing."""
    people.citizen.execute("DELETE FROM profile_data WHERE full_name = 'Person 7'")
    people.run("golden-records", full=True, dry_run=True)
    people.run("golden-records", full=True)
    start, end = events_of(receiver)
    assert (start["eventType"], end["eventType"]) == ("START", "COMPLETE")
    assert end["job"]["name"] == "golden-records.batch"
    (source,), (target,) = end["inputs"], end["outputs"]
    assert source["name"] == f"{people.names['smart_warehouse']}.public.golden_records"
    assert target["name"] == f"{people.names['smart_citizen']}.public.profile_data"
    assert target["outputFacets"]["outputStatistics"]["rowCount"] == 1
    columns = {field["name"]: field["type"] for field in source["facets"]["schema"]["fields"]}
    assert columns["gr_id"] == "uuid"
    fields = target["facets"]["columnLineage"]["fields"]
    masked = {
        name
        for name, one in fields.items()
        if any(step["masking"] for it in one["inputFields"] for step in it["transformations"])
    }
    assert masked == {"jan_aadhaar", "mobile_number", "email"}


def test_derived_columns_come_from_candidates(people, receiver: Receiver) -> None:
    people.run("eligibility-snapshots", full=True)
    fields = events_of(receiver)[1]["outputs"][0]["facets"]["columnLineage"]["fields"]
    assert [one["field"] for one in fields["family_id"]["inputFields"]] == ["family_id"]
    assert len(fields["eligibility_score"]["inputFields"]) == 10
    assert "explanation" in fields


def test_failed_batch_reports_its_error(people, receiver: Receiver, site) -> None:
    site.plugin("broken", BROKEN)
    with pytest.raises(ConfigError):
        people.run("golden-records", "broken", full=True)
    failed = events_of(receiver)[1]
    assert failed["eventType"] == "FAIL"
    message = failed["run"]["facets"]["errorMessage"]["message"]
    assert "sink_startup of plugin 'broken' raised ValueError" in message
    assert "9876543210" not in message


def test_stopped_batch_is_aborted(people, receiver: Receiver, stopper) -> None:
    people.run("golden-records", stopper(1), full=True)
    assert [event["eventType"] for event in events_of(receiver)] == ["START", "ABORT"]


def test_reconciliation_writes_only_to_repair(people, receiver: Receiver) -> None:
    assert reconcile(people, full=True).is_equal
    start, end = events_of(receiver)
    assert (start["eventType"], end["eventType"]) == ("START", "COMPLETE")
    assert end["job"]["name"] == "golden-records.reconcile"
    tables = [one["name"].rpartition(".")[2] for one in end["inputs"]]
    assert (tables, end["outputs"]) == (["golden_records", "profile_data"], [])
    assert reconcile(people, full=True, repair=True).is_equal
    (target,) = events_of(receiver)[1]["outputs"]
    assert target["name"].endswith(".public.profile_data")
    assert target["outputFacets"]["outputStatistics"]["rowCount"] == 0
