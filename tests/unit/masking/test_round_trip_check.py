"""A masked value never overwrites a real one."""

import json
import shutil
from pathlib import Path

import pytest

from sink_runner.errors import PolicyError
from sink_runner.loading import discovery
from sink_runner.masking.origins import NOT_READ
from sink_runner.masking.policy import load_policies
from sink_runner.masking.round_trip_check import describe, faults, refuse_returns, returns
from sink_runner.plugin import (
    Column,
    ConflictDetection,
    Derived,
    Lookup,
    TableMapping,
    all_of,
    first_of,
    newest_wins,
    source_wins,
)
from sink_runner.postgres.catalog import CatalogColumn
from sink_runner.testing import Harness, update
from sink_runner.transform.compiled_mapping import compile_mapping, mappings_of
from sink_runner.transform.event_source import EventSource

from ...support.plugin_folders import MAPPINGS

ROOT = Path(__file__).parents[3]
OWN = ROOT / "ranger-policies"
NORTH, SOUTH, WEST = "north.public.people", "south.public.people", "west.public.people"


def mapping(source, target, *columns):
    columns = (Column("id"), *columns)
    return TableMapping(
        source=source, target=target, key=("id",), conflict=source_wins(), columns=columns
    )


@pytest.fixture
def folder(tmp_path):
    """Policies that mask the column `name` of NORTH for other databases, and nothing else."""
    folder = tmp_path / "policies"
    shutil.copytree(OWN, folder)
    content = json.loads((folder / "policies.json").read_text())
    names = {"database": "north", "schema": "public", "table": "people", "column": "name"}
    item = content["policies"][0]["dataMaskPolicyItems"][0] | {"groups": ["south", "west"]}
    rule = content["policies"][0] | {
        "resources": {level: {"values": [name]} for level, name in names.items()},
        "dataMaskPolicyItems": [item],
    }
    (folder / "policies.json").write_text(json.dumps(content | {"policies": [rule]}))
    (folder / "classification.json").write_text('{"tags": {}, "columns": {}}')
    return folder


@pytest.fixture
def policies(folder):
    return load_policies(folder)


FORWARD = mapping(NORTH, SOUTH, Column("name"))


@pytest.mark.parametrize(
    "column",
    [
        Column("name"),
        Column("title", "name"),  # a masked value in another column of the table
        Column("title", first_of("city", "name")),
        Column("title", all_of("city", "name")),
        Column("name", convert=str.upper),
        Column("name", insert_only=True),
    ],
    ids=repr,
)
def test_masked_round_trip_of_pair_is_refused(policies, column):
    pair = {"forward": FORWARD, "backward": mapping(SOUTH, NORTH, column)}
    for name in pair:
        with pytest.raises(PolicyError) as error:
            refuse_returns(name, pair, policies)
        for part in ("'forward' masks north.public.people.name", "'backward' to north", "real one"):
            assert part in str(error.value)


@pytest.mark.parametrize(
    "column",
    [
        Column("city"),
        Column("name", "city"),
        Column("city", "name", lookup=Lookup("SELECT %s", "north")),  # not the masked value
    ],
    ids=repr,
)
def test_pair_without_masked_column_is_accepted(policies, column):
    pair = {"forward": FORWARD, "backward": mapping(SOUTH, NORTH, column)}
    for name in pair:
        refuse_returns(name, pair, policies)


def test_longer_masked_round_trip_is_refused(policies):
    mappings = {
        "forward": FORWARD,
        "onward": mapping(SOUTH, WEST, Column("label", "name")),
        "return": mapping(WEST, NORTH, Column("name", "label")),
        "aside": mapping(SOUTH, "west.public.other", Column("name")),
    }
    for name in ("forward", "onward", "return"):
        with pytest.raises(PolicyError, match=r"'onward' to west.* then 'return' to north"):
            refuse_returns(name, mappings, policies)
    refuse_returns("aside", mappings, policies)


def test_cycle_without_round_trip_ends_search(policies):
    cycle = {
        "forward": FORWARD,
        "there": mapping(SOUTH, WEST, Column("name")),
        "again": mapping(WEST, SOUTH, Column("name")),
    }
    assert list(returns(cycle, policies)) == []


def test_unmasked_column_may_return(folder):
    path = folder / "policies.json"
    path.write_text(
        path.read_text()
        .replace('"CUSTOM"', '"MASK_NONE"')
        .replace(', "valueExpr": "show_last({col}, 4, \'****-****-\')"', "")
    )
    pair = {"forward": FORWARD, "backward": mapping(SOUTH, NORTH, Column("name"))}
    assert list(returns(pair, load_policies(folder))) == []


def test_shipped_mappings_have_no_masked_round_trip():
    plugins = discovery.installed()
    names = [folder.name for folder in MAPPINGS]
    for name in names:
        discovery.load(plugins[name])
    shipped = mappings_of(plugins[name] for name in names)
    assert len(shipped) == 12
    assert [describe(trip) for trip in returns(shipped, load_policies(OWN))] == []


def declare(**changed):
    declared = {
        "source": NORTH,
        "target": SOUTH,
        "key": ("id",),
        "conflict": source_wins(),
        "columns": (Column("id"), Column("name")),
    }
    return TableMapping(**declared | changed)


PICK = Derived(key=("name",), group=("id",), select="SELECT 1")
TIMED = (Column("id"), Column("name"), Column("at"))


@pytest.mark.parametrize(
    ("mapping", "reason"),
    [
        (declare(key=("name",)), "two rows would become one"),
        (declare(derived=PICK), "two rows would become one"),
        (declare(conflict=newest_wins("name")), "decides which row is newer"),
        (
            declare(
                columns=TIMED,
                conflict=newest_wins("at"),
                conflict_detection=ConflictDetection(),
                needs_before_image=True,
            ),
            "would overwrite a real one",
        ),
    ],
    ids=["key", "key of candidates", "version", "contested"],
)
def test_mask_of_needed_value_is_refused(policies, mapping, reason):
    with pytest.raises(PolicyError, match=rf"'forward' masks north.public.people.name .*{reason}"):
        refuse_returns("forward", {"forward": mapping}, policies)
    assert len(faults({"forward": mapping}, policies)) == 1


def test_mask_of_other_column_is_accepted(policies):
    assert faults({"forward": declare()}, policies) == []


def test_key_may_be_hashed(folder):
    """Different keys have different hashes, so each row stays a row."""
    content = json.loads((folder / "policies.json").read_text())
    for item in content["policies"][0]["dataMaskPolicyItems"]:
        item["dataMaskInfo"] = {"dataMaskType": "MASK_HASH"}
    (folder / "policies.json").write_text(json.dumps(content))
    policies = load_policies(folder, "k" * 43)
    assert faults({"forward": declare(key=("name",))}, policies) == []


CODE = """
from sink_runner.plugin import *

@hookimpl
def sink_mapping():
    return TableMapping(
        source="{source}", target="{target}", key=("id",), conflict=source_wins(),
        columns=(Column("id"), Column("name")),
    )
"""


def compile_plugin(name, plugins, policies):
    catalog = {column: CatalogColumn(column, "text", nullable=True) for column in ("id", "name")}
    (plugin,) = [plugin for plugin in plugins if plugin.name == name]
    return compile_mapping(
        plugin,
        plugins,
        catalog,
        policies,
        EventSource(decode=list, shape_of=lambda _: None, subject=lambda _: ""),
        origins=NOT_READ,
        resolve=lambda *_: {},
    )


def test_mappings_of_masked_round_trip_do_not_start(site, policies):
    for name, (source, target) in {"forward": (NORTH, SOUTH), "backward": (SOUTH, NORTH)}.items():
        site.plugin(name, CODE.format(source=source, target=target))
    installed = discovery.installed()
    plugins = [installed["forward"], installed["backward"]]
    for plugin in plugins:
        discovery.load(plugin)
    for plugin in plugins:
        assert compile_plugin(plugin.name, [plugin], policies).columns  # accepted without the other
        with pytest.raises(PolicyError, match="a masked value would overwrite a real one"):
            compile_plugin(plugin.name, plugins, policies)


def test_edited_masked_row_would_round_trip(site, folder):
    """The loop guard drops only the runner's own writes; other writes return the masked value."""
    for name, (source, target) in {"forward": (NORTH, SOUTH), "backward": (SOUTH, NORTH)}.items():
        site.plugin(name, CODE.format(source=source, target=target))
    forward, backward = Harness("forward", policies=folder), Harness("backward", policies=folder)
    backward.parts.route._echoes = ("sink/forward/",)
    masked = forward.send(update({"id": "1", "name": "Anna Rao"}, name="Anna Devi")).row
    assert masked["name"] == "****-****-Devi"
    event = update({"id": "1", "name": "****-****- Rao"}, **masked)
    assert backward.apply(event.by("sink/forward/0")).changes == []
    assert backward.send(event).row["name"] == "****-****-Devi"
