"""The dashboard files match dashboards.toml, and query only metrics that the code exports."""

import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
GRAFANA = ROOT / "compose" / "grafana"
sys.path.insert(0, str(GRAFANA))

import dashboards  # noqa: E402 - a program, not a package

from .queries import exported_metrics, find_unknown  # noqa: E402

EXPORTED = exported_metrics()
PANELS = {
    f"{name}: {panel.title}": panel
    for name in dashboards.DASHBOARDS
    for panel in dashboards.panels(name)
}


@pytest.mark.parametrize("name", dashboards.DASHBOARDS)
def test_dashboard_file_is_up_to_date(name):
    written = (dashboards.FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert written == dashboards.render(name), "run `python compose/grafana/dashboards.py`"


def test_every_dashboard_file_has_panels():
    files = {path.stem for path in dashboards.FOLDER.glob("*.json")}
    assert files == dashboards.DASHBOARDS.keys()


@pytest.mark.parametrize("title", PANELS)
def test_panel_queries_only_exported_metrics(title):
    panel = PANELS[title]
    assert panel.queries
    assert panel.kind in {"stat", "timeseries"}
    assert panel.worse in {"above", "below"}
    assert list(panel.limits) == sorted(panel.limits)
    for query in panel.queries.values():
        assert find_unknown(query, EXPORTED) == []


def test_panels_do_not_overlap():
    for name in dashboards.DASHBOARDS:
        cells = set()
        for model in dashboards.place(dashboards.panels(name)):
            grid = model["gridPos"]
            covered = {
                (x, y)
                for x in range(grid["x"], grid["x"] + grid["w"])
                for y in range(grid["y"], grid["y"] + grid["h"])
            }
            assert not covered & cells
            assert grid["x"] + grid["w"] <= 24
            cells |= covered


def test_grafana_is_provisioned_with_the_mounted_folders():
    services = yaml.safe_load((ROOT / "compose" / "compose.yaml").read_text())["services"]
    mounts = [volume.split(":")[:2] for volume in services["grafana"]["volumes"]]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/sink-runner.yml").read_text())[
        "providers"
    ]
    assert ["./grafana/dashboards", provider["options"]["path"]] in mounts
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    assert f'"uid": "{source["uid"]}"' in dashboards.render("sync")
