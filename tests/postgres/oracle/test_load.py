"""The load generator without a sink: it takes every action, and the history records all of them."""

from datetime import UTC, datetime

import psycopg
import pytest
from sink_stack.demo import load as demo
from sink_stack.demo.rows import Plan

from sink_runner.postgres.migrations import migrate

from ...oracle import history
from ...oracle.targets import EVENT_FLOWS, find_event_differences
from ...stack.load import Load
from ...stack.people import People

pytestmark = pytest.mark.postgres
ACTIONS = 1500


@pytest.fixture(scope="module")
def loaded(postgres):
    """Both databases with their history, after the demo data and the load's actions."""
    names = {name: postgres.fresh_database(name) for name in demo.DATABASES}
    for name in names.values():
        with psycopg.connect(postgres.dsn(name, "sink_writer"), autocommit=True) as writer:
            migrate(writer)
    dsns = {name: postgres.dsn(database) for name, database in names.items()}
    with (
        psycopg.connect(dsns["smart_warehouse"], autocommit=True) as warehouse,
        psycopg.connect(dsns["smart_citizen"], autocommit=True) as citizen,
    ):
        history.install(warehouse, "smart_warehouse")
        history.install(citizen, "smart_citizen")
        plan = Plan(families=50, seed=1, as_of=datetime.now(UTC).replace(tzinfo=None))
        demo.load(dsns, plan, if_empty=False, advance=lambda _: None)
        load = Load(warehouse=warehouse, citizen=citizen, people=People(7), rate=1)
        load.prepare()
        for _ in range(ACTIONS):
            load.run_action()
        yield load


@pytest.mark.parametrize(
    ("table", "key"),
    [("public.golden_records", "gr_id"), ("eligibility.eligibility_snapshots", "snapshot_id")],
)
def test_replayed_warehouse_history_equals_tables(loaded, table, key):
    rows = {row[key]: row for row in history.fetch_rows(loaded.warehouse, f"SELECT * FROM {table}")}
    assert history.replay(history.read_changes(loaded.warehouse, table), key) == rows


def test_replayed_portal_history_equals_table(loaded):
    rows = {row["id"]: row for row in history.fetch_rows(loaded.citizen, "SELECT * FROM citizens")}
    assert history.replay(history.read_changes(loaded.citizen, "public.citizens"), "id") == rows


def test_every_action_was_taken(loaded):
    assert {action.__qualname__ for action in loaded.actions} <= set(loaded.done)


def test_differences_contain_no_personal_value(loaded):
    differences = [str(one) for one in find_event_differences(loaded.warehouse, loaded.citizen)]
    assert {line.split()[0] for line in differences} == {
        "profile_data", "eligibility_hints", "golden_records", "cdc_conflict_resolution",
        *EVENT_FLOWS,
    }  # fmt: skip
    text = "\n".join(differences)
    personal = "SELECT aadhaar_number, full_name, mobile_number, email FROM citizens"
    values = {str(value) for row in loaded.citizen.execute(personal) for value in row if value}
    assert not [value for value in values if len(value) > 4 and value in text]
