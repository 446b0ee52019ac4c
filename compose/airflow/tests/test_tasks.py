"""The task of a DAG, run by the real Airflow."""

import psycopg
import pytest

pytestmark = pytest.mark.airflow

EXECUTE = """
import json, os
from airflow.sdk.exceptions import AirflowException, AirflowRescheduleException
from sink_batch import BatchOperator
from sink_times import Times

def outcome(times=Times("0 * * * *")):
    task = BatchOperator(task_id="batch", arguments=["batch", "apples"], times=times)
    try:
        task.execute({})
    except AirflowException as fault:
        return type(fault).__name__
    return "done"
"""
RUN_ALL = """
import json, os
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
assert not bag.import_errors, bag.import_errors
# The reconciliations of two mappings differ only in their names: those of one are enough.
chosen = [
    name for name in sorted(bag.dags) if ".reconcile" not in name or name.startswith("sink.schemes")
]
print(json.dumps({name: str(bag.dags[name].test().state) for name in chosen}))
"""
RECONCILED = "SELECT mapping, mode, outcome FROM sink.reconcile_run ORDER BY 2"
SCHEME = """
INSERT INTO public.scheme_master (scheme_code, scheme_name, category, status)
VALUES ('OLD-AGE', 'Old age pension', 'SOCIAL_SECURITY', 'active')
"""


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("exit 0", "done"),
        ("exit 1", "AirflowException"),
        ("exit 75", "AirflowException"),
        ("exit 78", "AirflowFailException"),  # not tried again
    ],
)
def test_exit_code_decides_whether_it_is_tried_again(home, line, wanted):
    home.runner(line)
    assert home.script(EXECUTE + "print(json.dumps(outcome()))").answer == wanted


def test_nothing_starts_in_maintenance_not_even_a_retry(home):
    code = 'print(json.dumps(outcome(Times("0 * * * *", "* * * * *", 7200))))'
    assert home.script(EXECUTE + code).answer == "AirflowRescheduleException"
    assert home.requested == []


def test_product_gets_no_variable_of_airflow(home):
    home.runner(f'env > "{home.folder}/env"')
    home.script(EXECUTE + "outcome()", SINK_PLUGINS="schemes")
    text = (home.folder / "env").read_text()
    assert "SINK_PLUGINS=schemes" in text
    assert "AIRFLOW" not in text


def test_task_that_is_stopped_asks_batch_to_end(home):
    home.runner(f"trap 'echo requested > \"{home.folder}/reported\"; exit 1' TERM; sleep 60 & wait")
    code = """
import threading, time
task = BatchOperator(task_id="batch", arguments=["batch"], times=Times("0 * * * *"))
def stop():
    time.sleep(1)
    task.on_kill()
threading.Thread(target=stop).start()
try:
    task.execute({})
except AirflowException:
    print(json.dumps("ended"))
"""
    assert home.script(EXECUTE + code, seconds=30).answer == "ended"
    assert (home.folder / "reported").read_text() == "requested\n"


@pytest.mark.postgres
def test_dags_run_against_real_databases(migrated, databases):
    with psycopg.connect(databases["STACK_SMART_WAREHOUSE_ADMIN_DSN"]) as warehouse:
        warehouse.execute(SCHEME)
    states = migrated.script(RUN_ALL, seconds=300).answer
    assert len(states) > 4
    assert set(states.values()) == {"success"}
    with psycopg.connect(databases["STACK_SMART_CITIZEN_ADMIN_DSN"]) as citizen:
        found = citizen.execute("SELECT code, name FROM public.schemes").fetchall()
        runs = citizen.execute("SELECT mapping, mode, outcome FROM sink.batch_run").fetchall()
        reconciled = citizen.execute(RECONCILED).fetchall()
    assert found == [("OLD-AGE", "Old age pension")]
    assert ("schemes", "full", "done") in runs
    assert reconciled == [("schemes", "changed", "equal"), ("schemes", "full", "equal")]
