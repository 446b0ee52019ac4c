"""Ranger's own plugin client believes our stand-in for its Admin, and what we push into it."""

import subprocess
import threading

import pytest

from sink_runner.masking.ranger.admin import connect

from ...support.ranger_admin import admin, admin_settings
from ...unit.masking.ranger.test_sync import OURS, SERVICE
from .cases import DEFINITION
from .engine import SECONDS, Ranger

pytestmark = pytest.mark.ranger


def test_ranger_s_plugin_takes_up_what_we_pushed(ranger: Ranger, tmp_path):
    """It polls, and decides by the policy as it was pushed."""
    with admin() as made:
        made.add_service(SERVICE, DEFINITION)
        client = connect(admin_settings(made.url), SERVICE)
        policy = OURS["policies"][1]
        stored = client.create(policy)
        column = "smart_warehouse.public.golden_records.mobile_number"
        command = ranger.command("Poll", made.url, str(tmp_path), SERVICE, column)
        polling = subprocess.Popen(
            [*command, "smart_citizen", f"{made.version + 1} "],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        timer = threading.Timer(SECONDS, polling.kill)
        timer.start()
        assert polling.stdout is not None
        seen = [polling.stdout.readline().split()]
        hidden = [{**policy["dataMaskPolicyItems"][0], "dataMaskInfo": {"dataMaskType": "MASK"}}]
        client.update(stored["id"], {**policy, "dataMaskPolicyItems": hidden})
        seen += [line.split() for line in polling.stdout]
        timer.cancel()
        polling.stdout.close()
        assert polling.wait(SECONDS) == 0
    assert seen == [[str(made.version - 1), "CUSTOM"], [str(made.version), "MASK"]]
