"""A change of the policies: other masks from the next batch on, or that mapping stops."""

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


class Folder:
    """A folder of policies: what is personal, and how `south` sees people's names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        shutil.copytree(OWN, path)
        self.policies = json.loads((path / "policies.json").read_text())
        self.policy = self.policies["policies"][0]
        self.policy["resources"] = {level: {"values": [name]} for level, name in NAMES.items()}

    def say(self, kind: str, *, group: str = "south", personal: tuple[str, ...] = ()) -> Policies:
        item = {"accesses": [{"type": "select", "isAllowed": True}], "groups": [group]}
        self.policy["dataMaskPolicyItems"] = [item | {"dataMaskInfo": {"dataMaskType": kind}}]
        self._write("policies.json", {**self.policies, "policies": [self.policy]})
        columns = {"north.public.people": {column: ["ID"] for column in personal}}
        self._write("classification.json", {"tags": {"ID": "a person's"}, "columns": columns})
        return load_policies(self.path)

    def _write(self, name: str, content: Any) -> None:
        (self.path / name).write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "policies")
    made.say("MASK_NULL")
    return made


@pytest.fixture
def sink(site: Any, folder: Folder) -> Harness:
    site.plugin("people", PLUGIN)
    return Harness("people", policies=folder.path)


@pytest.fixture
def change(sink: Harness) -> Any:
    """Give the mapping other policies."""
    catalog = {name: CatalogColumn(name, "text", nullable=True) for name in ("id", "name", "city")}
    plugin = discovery.installed()["people"]
    discovery.load(plugin)
    return lambda policies: remask(sink.parts, plugin, [plugin], catalog, policies)


def test_next_batch_uses_the_new_policies(sink: Harness, folder: Folder, change: Any) -> None:
    row = create(id="1", name="Anna Raman", city="Bagru")
    assert sink.send(row).row["name"] is None
    found = folder.say("MASK_SHOW_LAST_4")
    change(found)
    assert sink.send(row).row["name"] == "xxxxxxaman"
    stamp = sink.apply(row).masking
    assert (stamp.version, stamp.digest, stamp.columns) == (found.version, found.digest, ("name",))
    change(folder.say("MASK_NONE"))
    assert sink.send(row).row["name"] == "Anna Raman"


def test_unmasked_personal_column_keeps_old_masks(
    sink: Harness, folder: Folder, change: Any
) -> None:
    with pytest.raises(PolicyError, match=r"north\.public\.people\.name"):
        change(folder.say("MASK_NONE", group="elsewhere", personal=("name",)))
    assert sink.send(create(id="1", name="Anna", city="Bagru")).row["name"] is None


def test_column_that_becomes_personal_stops_mapping(
    folder: Folder, request: pytest.FixtureRequest
) -> None:
    """Its values may stand where the audit log tells of keys."""
    folder.say("MASK_NONE")
    change = request.getfixturevalue("change")
    with pytest.raises(ConfigError, match="name; start the runner again"):
        change(folder.say("MASK_NULL", personal=("name",)))
    with pytest.raises(ConfigError, match="name; start the runner again"):
        change(folder.say("MASK_NULL"))


class TestRefresh:
    def test_policies_that_are_the_same_change_nothing(self, folder: Folder) -> None:
        found, told = folder.say("MASK"), []
        refresh = Refresh(found, lambda: found, told.append)
        refresh()
        assert told == []

    def test_others_are_given_to_the_mapping_once(self, folder: Folder) -> None:
        old, new, told = folder.say("MASK"), folder.say("MASK_NULL"), []
        refresh = Refresh(old, lambda: new, told.append)
        refresh()
        refresh()
        assert told == [new]

    def test_policies_without_needed_mask_stop_mapping(self, folder: Folder) -> None:
        def refuse(_: Policies) -> None:
            raise PolicyError("name has no policy")

        old, new = folder.say("MASK"), folder.say("MASK_NULL")
        with pytest.raises(FatalError, match=r"version 1\): name has no policy"):
            Refresh(old, lambda: new, refuse)()


@pytest.mark.postgres
def test_worker_stops_with_its_offsets_where_they_were(stage: Any) -> None:
    """What was polled before is written, what comes after is not; another mapping goes on."""
    bad = False

    def refresh() -> None:
        if bad:
            raise FatalError("the masking policies have changed")

    worker, _, stop = stage.worker(refresh=refresh)
    stage.broker.send(0, 1)
    with stage.run(worker, stop) as running:
        stage.until([1])
        bad = True
        running.join(20)
        stage.broker.send(0, 2)
        time.sleep(0.1)
        assert isinstance(running.fault, FatalError)
    assert stage.audit() == [1]
    with stage.running("two"):  # it, or its successor, goes on exactly there
        stage.broker.share(two={0})
        stage.until([1, 2])


@pytest.mark.postgres
def test_worker_pauses_while_the_policies_are_too_old(stage: Any) -> None:
    """What was polled waits; nothing is written, lost or doubled, and it resumes without help."""
    old = True

    def refresh() -> None:
        if old:
            raise StalePoliciesError("the masking policies have not been confirmed")

    worker, _, stop = stage.worker(refresh=refresh)
    stage.broker.send(0, 1)
    stage.broker.send(0, 2)
    with stage.run(worker, stop):
        deadline = time.monotonic() + 20
        while (
            stage.health.statuses()["staged"].state is not State.PAUSED
            and time.monotonic() < deadline
        ):
            time.sleep(0.01)
        time.sleep(0.1)
        assert stage.audit() == []
        status = stage.health.statuses()["staged"]
        assert (status.state, stage.broker.polled) == (State.PAUSED, 1)
        old = False
        stage.until([1, 2])
        assert stage.health.statuses()["staged"].state is State.RUNNING
        old = True
        stage.broker.send(0, 3)
        time.sleep(0.2)
        assert stage.audit() == [1, 2]
        old = False
        stage.until([1, 2, 3])


@pytest.mark.postgres
def test_batch_masked_by_old_policies_is_not_written(stage: Any) -> None:
    """The policies grew too old after it was masked, while its writer retried."""
    told = [StalePoliciesError("too old"), StalePoliciesError("too old")]

    def digest() -> str:
        if told:
            raise told.pop()
        return "one"

    worker, _, stop = stage.worker()
    stage.route._masking = SimpleNamespace(digest="one", version=1, masked=(), hidden=None)
    worker._committer._policies = digest
    stage.broker.send(0, 1)
    with stage.run(worker, stop):
        stage.until([1])
    assert told == []
