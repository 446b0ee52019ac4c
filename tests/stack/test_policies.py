"""Policies that change while a runner runs: new masks, invalid policies, and a missing mask."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sink_stack.testing_stack import StackUnderTest

from ..support.waits import eventually
from .runner_process import ROOT, fetch_row, run_runner

pytestmark = pytest.mark.stack

MOBILE, NUMBER = "0440000000", "044000000000"
REFRESH_SECONDS = 0.2


class Configuration:
    """A copy of the repository's configuration and policies, which the test changes."""

    def __init__(self, folder: Path) -> None:
        text = (ROOT / "sink-runner.toml").read_text()
        assert "[policies]\n" in text
        self.config = folder / "sink-runner.toml"
        self.config.write_text(
            text.replace("[policies]\n", f"[policies]\nrefresh_seconds = {REFRESH_SECONDS}\n")
        )
        self.policies = folder / "ranger-policies"
        shutil.copytree(ROOT / "ranger-policies", self.policies)

    def change_policies(self, edit: Callable[[list[dict[str, Any]]], None]) -> None:
        """Write a new version of the policies and replace the file in one step, as `put` does."""
        content = json.loads((ROOT / "ranger-policies" / "policies.json").read_text())
        content["policyVersion"] += 1
        edit(content["policies"])
        self.write(json.dumps(content))

    def write(self, text: str) -> None:
        new_file = self.policies / "new"
        new_file.write_text(text)
        new_file.rename(self.policies / "policies.json")


def hide_mobile(policies: list[dict[str, Any]]) -> None:
    (item,) = policies[1]["dataMaskPolicyItems"]
    item["dataMaskInfo"] = {"dataMaskType": "MASK_NULL"}


def remove_name_mask(policies: list[dict[str, Any]]) -> None:
    for policy in policies:
        if policy["name"] == "golden record: identity":
            policy["dataMaskPolicyItems"][0]["groups"] = ["other"]


@pytest.fixture
def databases(stack: StackUnderTest) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
    with stack.admin("smart_warehouse") as warehouse, stack.admin("smart_citizen") as portal:
        yield warehouse, portal


def test_policy_change_applies_from_next_batch(
    stack: StackUnderTest, databases: Any, tmp_path: Path
) -> None:
    warehouse, portal = databases
    configuration = Configuration(tmp_path)

    def change_city(city: str) -> None:
        query = "UPDATE golden_records SET city_village = %s WHERE gr_id = %s"
        warehouse.execute(query, (city, record))

    def assert_row(city: str, mobile: str | None) -> None:
        query = "SELECT city, mobile_number FROM profile_data WHERE record_id = %s"
        eventually(lambda: (fetch_row(portal, query, record) or ("",))[0] == city)
        assert fetch_row(portal, query, record) == (city, mobile)

    def log_events(event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in runner.log.read_text().splitlines()]
        return [line for line in lines if line["event"] == event]

    insert = "INSERT INTO golden_records (jan_aadhaar, mobile_number, city_village) "
    record = str(
        fetch_row(warehouse, f"{insert} VALUES (%s, %s, 'A') RETURNING gr_id", NUMBER, MOBILE)[0]
    )
    only = ("--only", "golden-records,citizens")
    with run_runner(
        stack.env, tmp_path / "log", *only, mappings=2, config=configuration.config
    ) as runner:
        assert_row("A", "******0000")
        configuration.change_policies(hide_mobile)
        eventually(lambda: log_events("policies_refreshed"))
        change_city("B")
        assert_row("B", None)
        configuration.write("{")
        eventually(lambda: log_events("policies_not_refreshed"))
        change_city("C")
        assert_row("C", None)  # masked by the last valid policies
        configuration.change_policies(remove_name_mask)
        (stopped,) = eventually(lambda: log_events("mapping_stopped"))
        assert stopped["mapping"] == "golden-records"
        assert "golden_records.full_name is classified NAME" in stopped["reason"]
        change_city("D")
        portal.execute(
            "INSERT INTO citizens (aadhaar_number, full_name, mobile_number, verification_status) "
            "VALUES (%s, 'Ravi', %s, 'VERIFIED')",
            (NUMBER, MOBILE),
        )
        name = "SELECT full_name FROM golden_records WHERE gr_id = %s"
        eventually(
            lambda: fetch_row(warehouse, name, record) == ("Ravi",)
        )  # the other mapping continues
        assert_row("C", None)
        assert len(log_events("policies_not_refreshed")) == 1
        code, _ = runner.stop()
        assert code == 1
    assert MOBILE not in (tmp_path / "log").read_text()
    with run_runner(stack.env, tmp_path / "again", *only, mappings=2):
        assert_row("D", "******0000")  # continues at the stored offset
