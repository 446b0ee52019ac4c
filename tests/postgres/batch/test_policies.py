"""Policies that change or become stale while a batch runs, or before it starts."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sink_runner.config import Policies
from sink_runner.errors import StalePoliciesError
from sink_runner.masking.ranger import renewal

from ...stack.ranger.cases import DEFINITION
from ...support.ranger_admin import admin
from .test_golden_records import PERSON

pytestmark = pytest.mark.postgres
OWN = Path(__file__).parents[3] / "ranger-policies"
POLICY_CHANGE = """
import json, pathlib, time
from sink_runner.plugin import hookimpl
path = pathlib.Path({path!r})

@hookimpl
def sink_batch_committed():
    path.write_text(path.read_text().replace("'****-****-'", "'####-####-'"))
    time.sleep(0.3)
"""
SLOW_CHUNKS = """
import time
from sink_runner.plugin import hookimpl

@hookimpl
def sink_batch_committed():
    time.sleep(1.2)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(OWN, tmp_path / "policies")
    return tmp_path / "policies"


def test_run_masks_by_current_policies(pair: Any, site: Any, folder: Path) -> None:
    pair.citizen.execute("ALTER TABLE profile_data DROP CONSTRAINT profile_data_jan_aadhaar_check")
    pair.policies = Policies(directory=folder, refresh_seconds=0.02)
    site.plugin("policy_change", POLICY_CHANGE.format(path=str(folder / "policies.json")))
    pair.warehouse.execute(PERSON, (1, 20))
    report = pair.run("golden-records", "policy_change", full=True)
    query = "SELECT left(jan_aadhaar, 10), count(*) FROM profile_data GROUP BY 1"
    rows = pair.citizen.execute(query).fetchall()
    assert dict(rows) == {"****-****-"[:10]: 7, "####-####-"[:10]: 13}
    assert report.is_good(0)
    assert any("policies changed during the run" in note for note in report.notes)


def test_run_ends_when_policies_become_stale(
    pair: Any, site: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The written rows are kept, and the next run continues after them."""
    pair.policies = Policies(directory=folder, refresh_seconds=0.5, max_age_seconds=1)
    original = renewal.watch_policies

    def watch(settings: Policies) -> Any:
        policies = original(settings)
        policies.look = lambda: None
        return policies

    monkeypatch.setattr("sink_runner.batch.build.watch_policies", watch)
    site.plugin("slow_chunks", SLOW_CHUNKS)
    pair.warehouse.execute(PERSON, (1, 20))
    with pytest.raises(StalePoliciesError, match="max_age_seconds"):
        pair.run("golden-records", "slow_chunks", full=True)
    assert pair.citizen.execute("SELECT count(*) FROM profile_data").fetchone() == (7,)
    monkeypatch.undo()
    pair.policies = Policies(directory=folder)
    assert pair.run("golden-records", full=True).counts["written"] >= 13
    assert pair.citizen.execute("SELECT count(*) FROM profile_data").fetchone() == (20,)
    assert json.loads((folder / "policies.json").read_text())["policyVersion"]


@pytest.fixture
def ranger(folder: Path) -> Iterator[Any]:
    """A Ranger Admin with another mask than the folder, which was confirmed nine hours ago."""
    ours = json.loads((folder / "policies.json").read_text())
    text = json.dumps(ours["policies"]).replace("'****-****-'", "'####-####-'")
    (folder / "policies.json").write_text(json.dumps({**ours, "policyVersion": 3}))
    confirmed = time.time() - 9 * 3600
    os.utime(folder / "policies.json", (confirmed, confirmed))
    with admin() as server:
        server.add_service(ours["serviceName"], DEFINITION)
        for policy in json.loads(text):
            server.add(policy)
        yield server


def test_batch_queries_ranger_before_first_row(pair: Any, folder: Path, ranger: Any) -> None:
    pair.citizen.execute("ALTER TABLE profile_data DROP CONSTRAINT profile_data_jan_aadhaar_check")
    pair.policies = Policies(directory=folder, admin=ranger.url)
    pair.warehouse.execute(PERSON, (1, 5))
    ranger.failure_status = 503
    with pytest.raises(StalePoliciesError, match="max_age_seconds"):
        pair.run("golden-records", full=True)
    assert pair.citizen.execute("SELECT count(*) FROM profile_data").fetchone() == (0,)
    ranger.failure_status = 0
    pair.run("golden-records", full=True)
    prefixes = pair.citizen.execute("SELECT DISTINCT left(jan_aadhaar, 10) FROM profile_data")
    assert prefixes.fetchall() == [("####-####-",)]
