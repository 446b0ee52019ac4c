"""Print the pools of the DAGs, each with one slot, for `airflow pools import`."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("plugins")))

import sink_schedules

names = sorted({schedule["pool"] for schedule in sink_schedules.load()["schedules"]})
pools = {
    name: {"slots": 1, "description": "one run at a time", "include_deferred": False}
    for name in names
}
print(json.dumps(pools, indent=2))
