"""The DAGs that the real Airflow reads from the one file."""

import json
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).parents[3]
READ = """
import json, os, sys, warnings
from airflow.dag_processing.dagbag import DagBag

def read():
    with warnings.catch_warnings(record=True) as reported:
        warnings.simplefilter("always")
        bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    dags = {dag.dag_id: seen(dag) for dag in bag.dags.values()}
    texts = [str(one.message) for one in reported if "sink-runner" in str(one.message)]
    return {"dags": dags, "errors": bag.import_errors, "warnings": texts}

def seen(dag):
    (task,) = dag.tasks
    return {
        "cron": dag.timetable.summary,
        "arguments": task.arguments,
        "retries": task.retries,
        "delay": task.retry_delay.total_seconds(),
        "pool": task.pool,
        "active": dag.max_active_runs,
        "catchup": dag.catchup,
        "tags": sorted(dag.tags),
        "doc": dag.doc_md,
        "deadlines": {one.name: one.interval.total_seconds() for one in dag.deadline or ()},
    }
"""
PRINT = "\nprint(json.dumps(read()))\n"


def scheduled(home) -> list[dict]:
    reported = subprocess.run(
        [home.folder / "sink-runner", "schedule", "--json"],
        env=home.variables,
        capture_output=True,
        check=True,
    )
    return json.loads(reported.stdout)["schedules"]


def test_each_schedule_of_installed_plugins_has_a_dag(home):
    read = home.script(READ + PRINT, SINK_DEADLINES="").answer
    assert read["errors"] == {}
    wanted = scheduled(home)
    assert len(wanted) > 4
    assert any(one["readme"].startswith(f"# {one['mapping']}") for one in wanted)
    assert len(read["dags"]) == len(wanted)
    for one in wanted:
        mode = one["mode"]
        dag = read["dags"][f"sink.{one['mapping']}" + f".{mode}" * (mode != "changed")]
        assert dag["cron"] == one["cron"]
        assert dag["arguments"] == one["arguments"]
        assert (dag["retries"], dag["delay"]) == (3, 300)
        assert (dag["active"], dag["catchup"]) == (1, False)
        assert dag["doc"] == one["readme"]
        assert {"sink-runner", one["mapping"], "smart_warehouse"} <= set(dag["tags"])
        assert dag["deadlines"] == {"expected": one["expected_seconds"], "limit": 3600}


THREE = """(
    Schedule("0 * * * *"), Schedule("5 5 * * *"), Schedule("30 0 * * *", full=True)
)"""

RECONCILIATIONS = ("sink.apples.reconcile", "sink.apples.reconcile-full")


def test_installed_plugin_brings_its_dags(home):
    """Also where the answer of `sink-runner` was kept from the time before."""
    before = home.script(READ + PRINT).answer["dags"]
    home.plugin("apples", THREE)
    after = home.script(READ + PRINT).answer["dags"]
    assert set(after) - set(before) == {
        "sink.apples",
        "sink.apples.full",
        "sink.apples.2",
        *RECONCILIATIONS,
    }
    assert after["sink.apples.2"]["cron"] == "5 5 * * *"
    assert after["sink.apples"]["doc"] == "# apples"


def test_sink_runner_is_called_only_after_a_change(home):
    ask = "import json, sink_schedules\nprint(json.dumps(sink_schedules.load()['schedules']))"
    first = home.script(ask).answer
    assert home.script(ask).answer == first
    assert home.requested == ["schedule"]
    (home.site / "new-1.0.dist-info").mkdir()
    home.script(ask)
    home.script(ask, SINK_PLUGINS="schemes")
    assert home.requested == ["schedule"] * 3


def test_airflow_environment_lacks_clients_of_the_product(home):
    """The DAG file asks another program, and imports nothing of it."""
    modules = home.script(READ + "read()\nprint(json.dumps(sorted(sys.modules)))").answer
    assert "sink_batch" in modules
    assert not {name for name in modules if name.split(".")[0] in FOREIGN}


FOREIGN = {"sink_runner", "psycopg", "kafka", "confluent_kafka", "sink_schemes"}


def test_airflow_shows_error_of_silent_sink_runner(home):
    home.runner("echo 'no such option' >&2; exit 2")
    read = home.script(READ + PRINT).answer
    assert read["dags"] == {}
    assert "no such option" in str(read["errors"])


def test_each_dag_has_pool_once_pools_were_made(home):
    reported = home.script(POOLS).answer
    pools = sorted({one["pool"] for one in scheduled(home)})
    assert sorted(reported) == pools
    assert "sink.reconcile" in pools
    assert all(pool["slots"] == 1 for pool in reported.values())
    before = home.script(READ + PRINT).answer["dags"]
    assert {dag["pool"] for dag in before.values()} == {"default_pool"}
    (home.folder / "airflow" / "sink-pools.json").write_text(json.dumps(reported))
    after = home.script(READ + PRINT).answer["dags"]
    assert sorted({dag["pool"] for dag in after.values()}) == pools


POOLS = f"""
import contextlib, io, json, runpy
with contextlib.redirect_stdout(io.StringIO()) as reported:
    runpy.run_path({str(ROOT / "compose" / "airflow" / "pools.py")!r})
print(json.dumps(json.loads(reported.getvalue())))
"""


def test_broken_plugin_is_reported_and_hides_no_other(home):
    home.plugin("pears", "", code="import nope_nope")
    read = home.script(READ + PRINT).answer
    assert read["errors"] == {}
    assert "sink.schemes.full" in read["dags"]
    assert ["nope_nope" in text for text in read["warnings"]] == [True]
