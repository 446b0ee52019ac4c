"""Writes the Grafana dashboards to `dashboards/` from the panels of dashboards.toml.

Run `python compose/grafana/dashboards.py` after you change a panel.  A test compares the files, and
each query with the metrics that the code exports.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FOLDER = HERE / "dashboards"
DASHBOARDS = tomllib.loads((HERE / "dashboards.toml").read_text(encoding="utf-8"))
_SOURCE = {"type": "prometheus", "uid": "prometheus"}
_COLUMNS = 24


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel, as dashboards.toml describes it."""

    title: str
    queries: Mapping[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    limits: Sequence[float] = ()
    worse: str = "above"
    about: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in Grafana's grid."""
        return (6, 4) if self.kind == "stat" else (12, 8)

    def model(self, number: int, x: int, y: int) -> dict[str, Any]:
        width, height = self.size
        return {
            "id": number,
            "title": self.title,
            "description": self.about,
            "type": self.kind,
            "datasource": _SOURCE,
            "gridPos": {"x": x, "y": y, "w": width, "h": height},
            "fieldConfig": {"defaults": self._defaults(), "overrides": []},
            "targets": [
                {
                    "refId": chr(ord("A") + index),
                    "datasource": _SOURCE,
                    "expr": expr,
                    "legendFormat": legend,
                    "instant": self.kind == "stat",
                }
                for index, (legend, expr) in enumerate(self.queries.items())
            ],
        }

    def _defaults(self) -> dict[str, Any]:
        defaults: dict[str, Any] = {"unit": self.unit, "min": 0}
        if self.limits:
            defaults["thresholds"] = {"mode": "absolute", "steps": self._steps()}
            defaults["color"] = {"mode": "thresholds" if self.kind == "stat" else "palette-classic"}
            defaults["custom"] = {"thresholdsStyle": {"mode": "line"}}
        return defaults

    def _steps(self) -> list[dict[str, Any]]:
        colours = ["green", "yellow", "red"] if len(self.limits) > 1 else ["green", "red"]
        if self.worse == "below":
            colours.reverse()
        return [
            {"color": colour, "value": value}
            for colour, value in zip(colours, [None, *self.limits], strict=True)
        ]


def panels(name: str) -> list[Panel]:
    """Return the panels of a dashboard; an unknown key of one is an error."""
    return [Panel(**one) for one in DASHBOARDS[name]["panels"]]


def render(name: str) -> str:
    """Return the text of a dashboard's file."""
    model = {
        "uid": f"sink-{name}",
        "title": DASHBOARDS[name]["title"],
        "tags": ["sink-runner"],
        "schemaVersion": 41,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [
            {
                "type": "dashboards",
                "tags": ["sink-runner"],
                "title": "sink-runner",
                "asDropdown": True,
                "keepTime": True,
                "includeVars": True,
            }
        ],
        "templating": {"list": [_mapping_variable()]},
        "panels": place(panels(name)),
    }
    return json.dumps(model, indent=2, ensure_ascii=False) + "\n"


def _mapping_variable() -> dict[str, Any]:
    query = "label_values(sink_paused, mapping)"
    return {
        "name": "mapping",
        "type": "query",
        "datasource": _SOURCE,
        "definition": query,
        "query": {"query": query, "refId": "mapping"},
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def place(placed: Sequence[Panel]) -> list[dict[str, Any]]:
    """Place the panels from left to right, in rows of panels of one height."""
    models, x, y, row = [], 0, 0, 0
    for number, panel in enumerate(placed, start=1):
        width, height = panel.size
        if row and (x + width > _COLUMNS or height != row):
            x, y = 0, y + row
        models.append(panel.model(number, x, y))
        x, row = x + width, height
    return models


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for one in DASHBOARDS:
        (FOLDER / f"{one}.json").write_text(render(one), encoding="utf-8")
