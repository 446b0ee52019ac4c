"""The datasets of a mapping name real tables and columns, and the mask of each column."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sink_runner.config.dsn import Dsn
from sink_runner.masking.origins import Origins
from sink_runner.masking.policy import load_policies
from sink_runner.openlineage.datasets import describe
from sink_runner.openlineage.events import Datasets
from sink_runner.pipeline import MappingSetup
from sink_runner.postgres.catalog import CatalogColumn, TableCatalog
from sink_runner.testing.harness import load_plugin
from sink_runner.writer.encryption import Encryptor

POLICIES = Path(__file__).parents[3] / "ranger-policies"
WAREHOUSE = "host=127.0.0.1 port=5499 dbname=wh user=reader password=hunter2"


@pytest.fixture
def setup() -> Callable[..., MappingSetup]:
    def make(name: str = "golden-records", warehouse: str = WAREHOUSE) -> MappingSetup:
        plugin = load_plugin(name)
        names = [column.name for column in plugin.mapping.columns]
        dsns = {
            "smart_warehouse": Dsn.of(warehouse),
            "smart_citizen": Dsn.of("postgresql://sink:hunter2@127.0.0.1,127.0.0.2/portal"),
        }
        return MappingSetup(
            plugin=plugin,
            plugins=[plugin],
            policies=load_policies(POLICIES),
            origins=Origins(types={"gr_id": "uuid", "jan_aadhaar": "character varying(12)"}),
            target=TableCatalog(
                table=plugin.mapping.target_table,
                columns={name: CatalogColumn(name, "text", nullable=True) for name in names},
                unique=frozenset(),
                primary_key=frozenset(),
                full_identity=False,
            ),
            target_dsn=dsns["smart_citizen"],
            readers=dsns,
            encryptor=Encryptor(bytes(32), "test"),
        )

    return make


def read(setup: MappingSetup, **options: Any) -> Datasets:
    return describe(setup, lambda: setup.policies, **options)


def test_tables_are_named_by_server_and_database(setup) -> None:
    found = read(setup())
    (source,), (target,) = found.inputs, found.outputs
    assert source["namespace"] == "postgres://127.0.0.1:5499"
    assert source["name"] == "wh.public.golden_records"
    assert target["namespace"] == "postgres://127.0.0.1:5432"
    assert target["name"] == "portal.public.profile_data"
    assert "hunter2" not in str(found)


@pytest.mark.parametrize("host", ["", "host=/var/run/postgresql "])
def test_socket_is_named_localhost(setup, host: str, monkeypatch) -> None:
    for variable in ("PGHOST", "PGHOSTADDR", "PGPORT"):
        monkeypatch.delenv(variable, raising=False)
    found = read(setup(warehouse=f"{host}dbname=wh"))
    assert found.inputs[0]["namespace"] == "postgres://localhost:5432"


def test_columns_have_their_types(setup) -> None:
    found = read(setup())
    fields = found.inputs[0]["facets"]["schema"]["fields"]
    assert {"name": "jan_aadhaar", "type": "character varying(12)"} in fields
    assert {"name": "city", "type": "text"} in found.outputs[0]["facets"]["schema"]["fields"]


def test_masked_column_names_its_mask(setup) -> None:
    fields = read(setup()).outputs[0]["facets"]["columnLineage"]["fields"]
    (one,) = fields["jan_aadhaar"]["inputFields"]
    assert one["name"] == "wh.public.golden_records"
    assert one["field"] == "jan_aadhaar"
    (step,) = one["transformations"]
    assert (step["type"], step["subtype"], step["masking"]) == ("DIRECT", "TRANSFORMATION", True)
    assert "mask show_last({col}, 4, '****-****-')" in step["description"]
    assert fields["city"]["inputFields"][0]["field"] == "city_village"
    assert fields["city"]["inputFields"][0]["transformations"][0]["subtype"] == "IDENTITY"
    assert fields["synced_at"]["inputFields"] == []


def test_columns_of_filters_concern_whole_dataset(setup) -> None:
    found = read(setup()).outputs[0]["facets"]["columnLineage"]["dataset"]
    assert "status" in [one["field"] for one in found]
    assert {one["transformations"][0]["subtype"] for one in found} == {"FILTER"}


def test_comparison_has_target_as_input(setup) -> None:
    found = read(setup(), writes=False)
    assert found.outputs == ()
    names = [one["name"] for one in found.inputs]
    assert names == ["wh.public.golden_records", "portal.public.profile_data"]
