"""Policies that change under a running runner: other masks, the last good ones, and a stop."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sink_stack.testing_stack import StackUnderTest

from .running import ROOT, eventually, row, running

pytestmark = pytest.mark.stack

MOBILE, NUMBER = "0440000000", "044000000000"
LOOKS = 0.2  # seconds between two looks at the policies


class Site:
    """A configuration and policies of its own."""

    def __init__(self, folder: Path) -> None:
        text = (ROOT / "sink-runner.toml").read_text()
        assert "[policies]\n" in text
        self.config = folder / "sink-runner.toml"
        self.config.write_text(
            text.replace("[policies]\n", f"[policies]\nrefresh_seconds = {LOOKS}\n")
        )
        self.policies = folder / "ranger-policies"
        shutil.copytree(ROOT / "ranger-policies", self.policies)

    def change(self, change: Callable[[list[dict[str, Any]]], None]) -> None:
        """Write the policies anew, as `put` does: in one step."""
        content = json.loads((ROOT / "ranger-policies" / "policies.json").read_text())
        content["policyVersion"] += 1
        change(content["policies"])
        self.write(json.dumps(content))

    def write(self, text: str) -> None:
        fresh = self.policies / "fresh"
        fresh.write_text(text)
        fresh.rename(self.policies / "policies.json")


def hide_mobile(policies: list[dict[str, Any]]) -> None:
    (item,) = policies[1]["dataMaskPolicyItems"]
    item["dataMaskInfo"] = {"dataMaskType": "MASK_NULL"}


def forget_the_portal(policies: list[dict[str, Any]]) -> None:
    for policy in policies:
        if policy["name"] == "golden record: identity":
            policy["dataMaskPolicyItems"][0]["groups"] = ["elsewhere"]


@pytest.fixture
def databases(stack: StackUnderTest) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
    with stack.admin("smart_warehouse") as warehouse, stack.admin("smart_citizen") as portal:
        yield warehouse, portal


def test_policy_change_applies_from_next_batch(
    stack: StackUnderTest, databases: Any, tmp_path: Path
) -> None:
    warehouse, portal = databases
    site = Site(tmp_path)

    def move(city: str) -> None:
        query = "UPDATE golden_records SET city_village = %s WHERE gr_id = %s"
        warehouse.execute(query, (city, record))

    def seen(city: str, mobile: str | None) -> None:
        query = "SELECT city, mobile_number FROM profile_data WHERE record_id = %s"
        eventually(lambda: (row(portal, query, record) or ("",))[0] == city)
        assert row(portal, query, record) == (city, mobile)

    def told(event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in runner.log.read_text().splitlines()]
        return [line for line in lines if line["event"] == event]

    insert = "INSERT INTO golden_records (jan_aadhaar, mobile_number, city_village) "
    record = str(
        row(warehouse, f"{insert} VALUES (%s, %s, 'A') RETURNING gr_id", NUMBER, MOBILE)[0]
    )
    only = ("--only", "golden-records,citizens")
    with running(stack.env, tmp_path / "log", *only, mappings=2, config=site.config) as runner:
        seen("A", "******0000")
        site.change(hide_mobile)
        eventually(lambda: told("policies_refreshed"))
        move("B")
        seen("B", None)
        site.write("{")
        eventually(lambda: told("policies_not_refreshed"))
        move("C")
        seen("C", None)  # by the last good ones
        site.change(forget_the_portal)
        (stopped,) = eventually(lambda: told("mapping_stopped"))
        assert stopped["mapping"] == "golden-records"
        assert "golden_records.full_name is classified NAME" in stopped["reason"]
        move("D")
        portal.execute(
            "INSERT INTO citizens (aadhaar_number, full_name, mobile_number, verification_status) "
            "VALUES (%s, 'Ravi', %s, 'VERIFIED')",
            (NUMBER, MOBILE),
        )
        name = "SELECT full_name FROM golden_records WHERE gr_id = %s"
        eventually(lambda: row(warehouse, name, record) == ("Ravi",))  # the other mapping goes on
        seen("C", None)
        assert len(told("policies_not_refreshed")) == 1
        code, _ = runner.stop()
        assert code == 1
    assert MOBILE not in (tmp_path / "log").read_text()
    with running(stack.env, tmp_path / "again", *only, mappings=2):
        seen("D", "******0000")  # its offsets were where it stopped
