"""Ranger's own plugin client works with the stand-in for its Admin, and with pushed policies."""

import subprocess
import threading

import pytest

from sink_runner.masking.ranger.admin import connect

from ...support.ranger_admin import admin, admin_settings
from ...unit.masking.ranger.test_sync import OURS, SERVICE
from .cases import DEFINITION
from .engine import SECONDS, Ranger

pytestmark = pytest.mark.ranger


def test_ranger_plugin_applies_pushed_policies(ranger: Ranger, tmp_path):
    """The plugin polls the Admin and decides by the pushed policy."""
    with admin() as server:
        server.add_service(SERVICE, DEFINITION)
        client = connect(admin_settings(server.url), SERVICE)
        policy = OURS["policies"][1]
        stored = client.create(policy)
        column = "smart_warehouse.public.golden_records.mobile_number"
        command = ranger.command("Poll", server.url, str(tmp_path), SERVICE, column)
        polling = subprocess.Popen(
            [*command, "smart_citizen", f"{server.version + 1} "],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        timer = threading.Timer(SECONDS, polling.kill)
        timer.start()
        assert polling.stdout is not None
        decisions = [polling.stdout.readline().split()]
        masked = [{**policy["dataMaskPolicyItems"][0], "dataMaskInfo": {"dataMaskType": "MASK"}}]
        client.update(stored["id"], {**policy, "dataMaskPolicyItems": masked})
        decisions += [line.split() for line in polling.stdout]
        timer.cancel()
        polling.stdout.close()
        assert polling.wait(SECONDS) == 0
    assert decisions == [[str(server.version - 1), "CUSTOM"], [str(server.version), "MASK"]]
