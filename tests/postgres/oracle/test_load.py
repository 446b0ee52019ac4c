"""The load against bare databases: it does everything it lists, and the history misses nothing."""

from datetime import UTC, datetime

import psycopg
import pytest
from sink_stack.demo import load as demo
from sink_stack.demo.rows import Plan

from sink_runner.postgres.migrations import migrate

from ...oracle import history
from ...oracle.twelve import EVENT_FLOWS, event_differences
from ...stack.load import Load
from ...stack.people import People

pytestmark = pytest.mark.postgres
ACTIONS = 1500


@pytest.fixture(scope="module")
def loaded(postgres):
    """Both databases with their history, after demo data and a load without a sink."""
    names = {name: postgres.fresh_database(name) for name in demo.DATABASES}
    for name in names.values():
        with psycopg.connect(postgres.dsn(name, "sink_writer"), autocommit=True) as writer:
            migrate(writer)
    dsns = {name: postgres.dsn(made) for name, made in names.items()}
    with (
        psycopg.connect(dsns["smart_warehouse"], autocommit=True) as warehouse,
        psycopg.connect(dsns["smart_citizen"], autocommit=True) as citizen,
    ):
        history.install(warehouse, "smart_warehouse")
        history.install(citizen, "smart_citizen")
        plan = Plan(families=50, seed=1, as_of=datetime.now(UTC).replace(tzinfo=None))
        demo.load(dsns, plan, if_empty=False, advance=lambda _: None)
        load = Load(warehouse=warehouse, citizen=citizen, people=People(7), rate=1)
        load.look()
        for _ in range(ACTIONS):
            load.act()
        yield load


@pytest.mark.parametrize(
    ("table", "key"),
    [("public.golden_records", "gr_id"), ("eligibility.eligibility_snapshots", "snapshot_id")],
)
def test_history_of_warehouse_ends_in_its_tables(loaded, table, key):
    there = {row[key]: row for row in history.rows(loaded.warehouse, f"SELECT * FROM {table}")}
    assert history.final(history.read(loaded.warehouse, table), key) == there


def test_history_of_portal_ends_in_its_table(loaded):
    there = {row["id"]: row for row in history.rows(loaded.citizen, "SELECT * FROM citizens")}
    assert history.final(history.read(loaded.citizen, "public.citizens"), "id") == there


def test_every_action_was_taken(loaded):
    assert {action.__qualname__ for action in loaded.actions} <= set(loaded.done)


def test_differences_hold_no_value(loaded):
    found = [str(one) for one in event_differences(loaded.warehouse, loaded.citizen)]
    assert {one.split()[0] for one in found} == {
        "profile_data", "eligibility_hints", "golden_records", "cdc_conflict_resolution",
        *EVENT_FLOWS,
    }  # fmt: skip
    text = "\n".join(found)
    personal = "SELECT aadhaar_number, full_name, mobile_number, email FROM citizens"
    values = {str(value) for row in loaded.citizen.execute(personal) for value in row if value}
    assert not [value for value in values if len(value) > 4 and value in text]
