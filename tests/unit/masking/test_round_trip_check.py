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
    """Nobody outside the north sees a name of its people, nor is any other column personal."""
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


OUT = mapping(NORTH, SOUTH, Column("name"))


@pytest.mark.parametrize(
    "back",
    [
        Column("name"),
        Column("title", "name"),  # another column of the table holds real values, too
        Column("title", first_of("city", "name")),
        Column("title", all_of("city", "name")),
        Column("name", convert=str.upper),
        Column("name", insert_only=True),
    ],
    ids=repr,
)
def test_pair_that_brings_masked_column_home_is_refused(policies, back):
    pair = {"out": OUT, "back": mapping(SOUTH, NORTH, back)}
    for name in pair:
        with pytest.raises(PolicyError) as error:
            refuse_returns(name, pair, policies)
        for part in ("'out' masks north.public.people.name", "'back' to north", "real one"):
            assert part in str(error.value)


@pytest.mark.parametrize(
    "back",
    [
        Column("city"),
        Column("name", "city"),
        Column("city", "name", lookup=Lookup("SELECT %s", "north")),  # what it finds is no mask's
    ],
    ids=repr,
)
def test_pair_that_leaves_masked_column_out_is_not(policies, back):
    pair = {"out": OUT, "back": mapping(SOUTH, NORTH, back)}
    for name in pair:
        refuse_returns(name, pair, policies)


def test_longer_masked_round_trip_is_refused(policies):
    around = {
        "out": OUT,
        "on": mapping(SOUTH, WEST, Column("label", "name")),
        "home": mapping(WEST, NORTH, Column("name", "label")),
        "aside": mapping(SOUTH, "west.public.other", Column("name")),
    }
    for name in ("out", "on", "home"):
        with pytest.raises(PolicyError, match=r"'on' to west.* then 'home' to north"):
            refuse_returns(name, around, policies)
    refuse_returns("aside", around, policies)


def test_cycle_without_round_trip_ends_search(policies):
    loop = {
        "out": OUT,
        "there": mapping(SOUTH, WEST, Column("name")),
        "again": mapping(WEST, SOUTH, Column("name")),
    }
    assert list(returns(loop, policies)) == []


def test_what_is_shown_in_clear_may_come_home(folder):
    path = folder / "policies.json"
    path.write_text(
        path.read_text()
        .replace('"CUSTOM"', '"MASK_NONE"')
        .replace(', "valueExpr": "show_last({col}, 4, \'****-****-\')"', "")
    )
    pair = {"out": OUT, "back": mapping(SOUTH, NORTH, Column("name"))}
    assert list(returns(pair, load_policies(folder))) == []


def test_no_pair_that_we_ship_does_it():
    plugins = discovery.installed()
    names = [folder.name for folder in MAPPINGS]
    for name in names:
        discovery.load(plugins[name])
    shipped = mappings_of(plugins[name] for name in names)
    assert len(shipped) == 12
    assert [describe(way) for way in returns(shipped, load_policies(OWN))] == []


def of(**declared):
    made = {
        "source": NORTH,
        "target": SOUTH,
        "key": ("id",),
        "conflict": source_wins(),
        "columns": (Column("id"), Column("name")),
    }
    return TableMapping(**made | declared)


PICK = Derived(key=("name",), group=("id",), select="SELECT 1")
TIMED = (Column("id"), Column("name"), Column("at"))


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [
        (of(key=("name",)), "two rows would become one"),
        (of(derived=PICK), "two rows would become one"),
        (of(conflict=newest_wins("name")), "decides which row is newer"),
        (
            of(
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
def test_mask_where_value_is_needed_is_refused(policies, spoilt, why):
    with pytest.raises(PolicyError, match=rf"'out' masks north.public.people.name .*{why}"):
        refuse_returns("out", {"out": spoilt}, policies)
    assert len(faults({"out": spoilt}, policies)) == 1


def test_elsewhere_it_is_not(policies):
    assert faults({"out": of()}, policies) == []


def test_a_key_may_be_hashed(folder):
    """Two people stay two."""
    content = json.loads((folder / "policies.json").read_text())
    for item in content["policies"][0]["dataMaskPolicyItems"]:
        item["dataMaskInfo"] = {"dataMaskType": "MASK_HASH"}
    (folder / "policies.json").write_text(json.dumps(content))
    policies = load_policies(folder, "k" * 43)
    assert faults({"out": of(key=("name",))}, policies) == []


CODE = """
from sink_runner.plugin import *

@hookimpl
def sink_mapping():
    return TableMapping(
        source="{source}", target="{target}", key=("id",), conflict=source_wins(),
        columns=(Column("id"), Column("name")),
    )
"""


def put_together(name, plugins, policies):
    """As the runner and a batch do."""
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


def test_the_mappings_do_not_start(site, policies):
    for name, (source, target) in {"out": (NORTH, SOUTH), "back": (SOUTH, NORTH)}.items():
        site.plugin(name, CODE.format(source=source, target=target))
    installed = discovery.installed()
    plugins = [installed["out"], installed["back"]]
    for plugin in plugins:
        discovery.load(plugin)
    for plugin in plugins:
        assert put_together(plugin.name, [plugin], policies).columns  # alone it may
        with pytest.raises(PolicyError, match="a masked value would overwrite a real one"):
            put_together(plugin.name, plugins, policies)


def test_edited_masked_row_would_round_trip(site, folder):
    """The runner's own writes are echoes and go nowhere; anybody else's carry the mask home."""
    for name, (source, target) in {"out": (NORTH, SOUTH), "back": (SOUTH, NORTH)}.items():
        site.plugin(name, CODE.format(source=source, target=target))
    out, back = Harness("out", policies=folder), Harness("back", policies=folder)
    back.parts.route._echoes = ("sink/out/",)
    masked = out.send(update({"id": "1", "name": "Anna Rao"}, name="Anna Devi")).row
    assert masked["name"] == "****-****-Devi"
    event = update({"id": "1", "name": "****-****- Rao"}, **masked)
    assert back.apply(event.by("sink/out/0")).changes == []
    assert back.send(event).row["name"] == "****-****-Devi"
