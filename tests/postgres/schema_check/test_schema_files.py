"""The recorded schemas of the tables that the mappings read: what CI checks without a stack."""

import json
from pathlib import Path

import psycopg
import pytest

from sink_runner.loading import discovery
from sink_runner.masking.policy import load_policies
from sink_runner.plugin import TableMapping
from sink_runner.schema_check.catalog_schema import key_schema, read_shape, value_schema
from sink_runner.schema_check.checker import Sources, check
from sink_runner.schema_check.schema_files import Recorded, write

from ...support.plugin_folders import MAPPINGS

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "tests" / "fixtures" / "schemas"
PLUGINS = [folder.name for folder in MAPPINGS]


@pytest.fixture(params=PLUGINS)
def plugin(request) -> discovery.Plugin:
    found = discovery.installed()[request.param]
    discovery.load(found)
    return found


@pytest.fixture
def mapping(plugin) -> TableMapping:
    assert plugin.mapping is not None
    return plugin.mapping


@pytest.mark.postgres
def test_they_are_what_the_tables_are(mapping: TableMapping, postgres, request) -> None:
    """A change of a table is a change of these files: `pytest --record` writes them."""
    table = mapping.source_table
    with psycopg.connect(postgres.dsn(table.database)) as connection:
        shape = read_shape(connection, table)
    schemas = {
        f"{table}-value": value_schema(table, shape, with_source_types=True),
        f"{table}-key": key_schema(table, shape),
    }
    if request.config.getoption("--record"):
        write(FOLDER, schemas)
    for subject, schema in schemas.items():
        assert json.loads((FOLDER / f"{subject}.avsc").read_text()) == schema


def test_every_mapping_is_read_from_them(plugin, mapping: TableMapping) -> None:
    """Each column that a mapping names is there, and each that looks personal is decided."""
    sources = Sources(
        policies=load_policies(ROOT / "ranger-policies"),
        strict=True,
        recorded=Recorded(folder=FOLDER),
    )
    assert check(plugin.name, mapping, sources) == []


def test_only_schemas_of_mappings_are_recorded() -> None:
    plugins = [discovery.installed()[name] for name in PLUGINS]
    for found in plugins:
        discovery.load(found)
    sources = {found.mapping.source for found in plugins if found.mapping is not None}
    names = {f"{source}-{part}.avsc" for source in sources for part in ("value", "key")}
    assert {path.name for path in FOLDER.iterdir()} == names
