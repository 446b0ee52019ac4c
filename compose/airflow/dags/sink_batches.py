"""One DAG for each schedule of the installed sink-runner plugins: batch runs, reconciliations."""

from __future__ import annotations

import json
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import sink_schedules
from airflow.sdk import DAG, AsyncCallback, DeadlineAlert, DeadlineReference
from sink_batch import BatchOperator, warn_of_slow_run
from sink_times import Times
from sink_timetable import BatchTimetable

POOLS = Path(os.environ.get("AIRFLOW_HOME", Path.home() / "airflow")) / "sink-pools.json"


def dags() -> Iterator[DAG]:
    """Build the DAGs; a plugin that can't be read is reported and does not hide the others."""
    answer = sink_schedules.load()
    for error in answer["errors"]:
        warnings.warn(f"sink-runner: {error}", UserWarning, stacklevel=1)
    seen: Counter[str] = Counter()
    for schedule in answer["schedules"]:
        mode = schedule["mode"]
        name = f"sink.{schedule['mapping']}" + ("" if mode == "changed" else f".{mode}")
        seen[name] += 1
        dag_id = name if seen[name] == 1 else f"{name}.{seen[name]}"
        yield build(dag_id, schedule, answer["rules"])


def build(dag_id: str, schedule: dict[str, Any], rules: dict[str, Any]) -> DAG:
    maintenance = (rules["maintenance"], rules["maintenance_seconds"])
    databases = [schedule[side].partition(".")[0] for side in ("source", "target")]
    with DAG(
        dag_id=dag_id,
        description=f"{schedule['source']} -> {schedule['target']}",
        doc_md=schedule["readme"],
        schedule=BatchTimetable(schedule["cron"], *maintenance),
        catchup=False,  # what was missed is one run, not one for each time
        max_active_runs=1,
        tags=["sink-runner", schedule["mapping"], schedule["mode"], *databases],
        deadline=deadlines(schedule, rules),
        default_args={
            "retries": rules["retries"],
            "retry_delay": timedelta(seconds=rules["retry_seconds"]),
            "pool": pool(schedule["pool"]),
        },
    ) as dag:
        times = Times(schedule["cron"], *maintenance)
        BatchOperator(
            task_id=schedule["arguments"][0], arguments=schedule["arguments"], times=times
        )
    return dag


def deadlines(schedule: dict[str, Any], rules: dict[str, Any]) -> list[DeadlineAlert] | None:
    """What the schedule expects, and the limit for all.

    `airflow dags test` fails on a DAG with a deadline (apache/airflow#73428): SINK_DEADLINES=off
    is for that.
    """
    if os.environ.get("SINK_DEADLINES") == "off":
        return None
    limits = {"expected": schedule["expected_seconds"], "limit": rules["limit_seconds"]}
    return [
        DeadlineAlert(
            name=limit,
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=timedelta(seconds=seconds),
            callback=AsyncCallback(
                warn_of_slow_run,
                kwargs={
                    "mapping": schedule["mapping"],
                    "mode": schedule["mode"],
                    "limit": limit,
                    "minutes": seconds / 60,
                },
            ),
        )
        for limit, seconds in limits.items()
    ]


def pool(name: str) -> str:
    """Return the pool of this name, which has one slot, or the default pool if it is missing.

    Airflow never starts a task whose pool is missing.  Without one, a batch waits for the lock of
    its target automatically, and takes up a worker meanwhile.
    """
    try:
        made = json.loads(POOLS.read_text(encoding="utf-8"))
    except FileNotFoundError:
        made = {}
    return name if name in made else "default_pool"


for dag in dags():
    globals()[dag.dag_id] = dag
