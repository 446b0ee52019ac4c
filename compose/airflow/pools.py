"""Print the pools of the DAGs, one slot for each target table, for `airflow pools import`."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("plugins")))

import sink_schedules

targets = sorted({schedule["target"] for schedule in sink_schedules.load()["schedules"]})
pools = {
    target: {"slots": 1, "description": "one batch at a time", "include_deferred": False}
    for target in targets
}
print(json.dumps(pools, indent=2))
