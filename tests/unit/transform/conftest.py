"""Fixtures of the tests of the route."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sink_runner.testing import Harness

from .people import COLUMNS, MAPPING, Make


@pytest.fixture
def make(site) -> Make:
    def build(
        code: str = "",
        declared: str = "conflict=source_wins(),",
        columns: str = COLUMNS,
        **options: Any,
    ) -> Harness:
        site.plugin("people", MAPPING.format(declared=declared, columns=columns) + code)
        return Harness("people", **options)

    return build


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """A folder with one policy, which keeps the last four characters of `name` in south."""
    folder = tmp_path / "policies"
    shutil.copytree(Path(__file__).parents[3] / "ranger-policies", folder)
    document = json.loads((folder / "policies.json").read_text())
    policy = document["policies"][0]
    resource = {"database": "north", "schema": "public", "table": "people", "column": "name"}
    policy["resources"] = {level: {"values": [name]} for level, name in resource.items()}
    policy["dataMaskPolicyItems"][0]["groups"] = ["south"]
    (folder / "policies.json").write_text(json.dumps(document | {"policies": [policy]}))
    return folder
