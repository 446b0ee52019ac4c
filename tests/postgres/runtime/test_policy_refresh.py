"""A policy change while a worker runs: new masks from the next batch on, a pause or a stop."""

import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sink_runner.errors import ConfigError, FatalError, PolicyError, StalePoliciesError
from sink_runner.loading import discovery
from sink_runner.masking.policy import Policies, load_policies
from sink_runner.masking.policy_reload import Refresh
from sink_runner.model.status import State
from sink_runner.postgres.catalog import CatalogColumn
from sink_runner.testing import Harness, create
from sink_runner.transform.compiled_mapping import remask

OWN = Path(__file__).parents[3] / "ranger-policies"
NAMES = {"database": "north", "schema": "public", "table": "people", "column": "name"}
PLUGIN = """
from sink_runner.plugin import *

@hookimpl
def sink_mapping():
    return TableMapping(
        source="north.public.people", target="south.public.people", key=("id",),
        conflict=source_wins(), columns=(Column("id"), Column("name"), Column("city")),
    )
"""


class PolicyFolder:
    """A policy folder: which columns are personal, and the mask of `name` for group `south`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        shutil.copytree(OWN, path)
        self.policies = json.loads((path / "policies.json").read_text())
        self.policy = self.policies["policies"][0]
        self.policy["resources"] = {level: {"values": [name]} for level, name in NAMES.items()}

    def write(self, kind: str, *, group: str = "south", personal: tuple[str, ...] = ()) -> Policies:
        item = {"accesses": [{"type": "select", "isAllowed": True}], "groups": [group]}
        self.policy["dataMaskPolicyItems"] = [item | {"dataMaskInfo": {"dataMaskType": kind}}]
        self._write("policies.json", {**self.policies, "policies": [self.policy]})
        columns = {"north.public.people": {column: ["ID"] for column in personal}}
        self._write("classification.json", {"tags": {"ID": "a person's"}, "columns": columns})
        return load_policies(self.path)

    def _write(self, name: str, content: Any) -> None:
        (self.path / name).write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path: Path) -> PolicyFolder:
    created = PolicyFolder(tmp_path / "policies")
    created.write("MASK_NULL")
    return created


@pytest.fixture
def mapping(site: Any, folder: PolicyFolder) -> Harness:
    site.plugin("people", PLUGIN)
    return Harness("people", policies=folder.path)


@pytest.fixture
def change(mapping: Harness) -> Any:
    """Return a function that applies other policies to the mapping."""
    catalog = {name: CatalogColumn(name, "text", nullable=True) for name in ("id", "name", "city")}
    plugin = discovery.installed()["people"]
    discovery.load(plugin)
    return lambda policies: remask(mapping.parts, plugin, [plugin], catalog, policies)


def test_next_batch_uses_the_new_policies(
    mapping: Harness, folder: PolicyFolder, change: Any
) -> None:
    row = create(id="1", name="Anna Raman", city="Bagru")
    assert mapping.send(row).row["name"] is None
    found = folder.write("MASK_SHOW_LAST_4")
    change(found)
    assert mapping.send(row).row["name"] == "xxxxxxaman"
    stamp = mapping.apply(row).masking
    assert (stamp.version, stamp.digest, stamp.columns) == (found.version, found.digest, ("name",))
    change(folder.write("MASK_NONE"))
    assert mapping.send(row).row["name"] == "Anna Raman"


def test_unmasked_personal_column_keeps_old_masks(
    mapping: Harness, folder: PolicyFolder, change: Any
) -> None:
    with pytest.raises(PolicyError, match=r"north\.public\.people\.name"):
        change(folder.write("MASK_NONE", group="elsewhere", personal=("name",)))
    assert mapping.send(create(id="1", name="Anna", city="Bagru")).row["name"] is None


def test_column_that_becomes_personal_stops_mapping(
    folder: PolicyFolder, request: pytest.FixtureRequest
) -> None:
    """The audit log may already contain its values as keys."""
    folder.write("MASK_NONE")
    change = request.getfixturevalue("change")
    with pytest.raises(ConfigError, match="name; start the runner again"):
        change(folder.write("MASK_NULL", personal=("name",)))
    with pytest.raises(ConfigError, match="name; start the runner again"):
        change(folder.write("MASK_NULL"))


class TestRefresh:
    def test_unchanged_policies_are_not_applied(self, folder: PolicyFolder) -> None:
        found, applied = folder.write("MASK"), []
        refresh = Refresh(found, lambda: found, applied.append)
        refresh()
        assert applied == []

    def test_changed_policies_are_applied_once(self, folder: PolicyFolder) -> None:
        old, new, applied = folder.write("MASK"), folder.write("MASK_NULL"), []
        refresh = Refresh(old, lambda: new, applied.append)
        refresh()
        refresh()
        assert applied == [new]

    def test_policies_without_needed_mask_stop_mapping(self, folder: PolicyFolder) -> None:
        def refuse(_: Policies) -> None:
            raise PolicyError("name has no policy")

        old, new = folder.write("MASK"), folder.write("MASK_NULL")
        with pytest.raises(FatalError, match=r"version 1\): name has no policy"):
            Refresh(old, lambda: new, refuse)()


@pytest.mark.postgres
def test_policy_error_stops_worker_before_next_batch(harness: Any) -> None:
    """Records polled before the error are written, later ones are not."""
    bad = False

    def refresh() -> None:
        if bad:
            raise FatalError("the masking policies have changed")

    worker, _, stop = harness.worker(refresh=refresh)
    harness.broker.send(0, 1)
    with harness.run(worker, stop) as running:
        harness.wait_for([1])
        bad = True
        running.join(60)
        harness.broker.send(0, 2)
        time.sleep(0.1)
        assert isinstance(running.error, FatalError)
    assert harness.written_ids() == [1]
    with harness.running("two"):  # continues at the stored offset
        harness.broker.assign(two={0})
        harness.wait_for([1, 2])


@pytest.mark.postgres
def test_worker_pauses_while_policies_are_stale(harness: Any) -> None:
    """The polled records wait, and each is written once after the policies are confirmed."""
    old = True

    def refresh() -> None:
        if old:
            raise StalePoliciesError("the masking policies have not been confirmed")

    worker, _, stop = harness.worker(refresh=refresh)
    harness.broker.send(0, 1)
    harness.broker.send(0, 2)
    with harness.run(worker, stop):
        deadline = time.monotonic() + 20
        while (
            harness.health.statuses()["staged"].state is not State.PAUSED
            and time.monotonic() < deadline
        ):
            time.sleep(0.01)
        time.sleep(0.1)
        assert harness.written_ids() == []
        status = harness.health.statuses()["staged"]
        assert (status.state, harness.broker.polls_with_records) == (State.PAUSED, 1)
        old = False
        harness.wait_for([1, 2])
        assert harness.health.statuses()["staged"].state is State.RUNNING
        old = True
        harness.broker.send(0, 3)
        time.sleep(0.2)
        assert harness.written_ids() == [1, 2]
        old = False
        harness.wait_for([1, 2, 3])


@pytest.mark.postgres
def test_batch_masked_by_old_policies_is_not_written(harness: Any) -> None:
    """The policies became stale after the batch was masked, while its writer retried."""
    errors = [StalePoliciesError("too old"), StalePoliciesError("too old")]

    def digest() -> str:
        if errors:
            raise errors.pop()
        return "one"

    worker, _, stop = harness.worker()
    harness.route._masking = SimpleNamespace(digest="one", version=1, masked=(), hidden=None)
    worker._committer._policies = digest
    harness.broker.send(0, 1)
    with harness.run(worker, stop):
        harness.wait_for([1])
    assert errors == []
