"""Each misconfiguration is found under its name, and what its remedy says removes the finding."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
from sink_stack import testing_postgres
from sink_stack.testing_postgres import installed, pooling, running

from sink_runner.doctor.examination import examine
from sink_runner.doctor.groups import groups
from sink_runner.model.findings import Fault

from ...support.waits import eventually
from ..preflight.conftest import MappedTables
from ..preflight.invalid_mappings import set_up
from .conftest import FakeRegistry, Site
from .misconfigured_mappings import MAPPINGS, Row, with_properties
from .misconfigured_servers import SERVERS

pytestmark = pytest.mark.postgres

MATRIX = MAPPINGS | SERVERS
OWN_TESTS = {
    "database/slot",
    "database/wal_level",
    "database/replication_limits",
    "mapping/origins",
}
"""Checks with a test of their own below."""


def faults(site: Site, check: str) -> list[Fault]:
    """Return what one check finds."""
    kind, _, name = check.partition("/")
    chosen = [one for one in groups(site.deployment) if one.name.split()[0] == kind]
    reduced = [replace(one, checks={name: one.checks[name]}) for one in chosen]
    return [one.fault for found in examine(reduced, 20, print) for one in found.findings]


def paste(site: Site, side: str, fault: Fault) -> None:
    """Follow the remedy: execute its SQL, and reload the settings if it says so."""
    assert fault.sql, fault.remedy
    getattr(site.tables, side).execute(fault.sql.encode())
    if "reload" in fault.remedy:
        getattr(site.tables, side).execute(b"SELECT pg_reload_conf()")


@pytest.mark.parametrize("name", MATRIX)
def test_misconfiguration_is_found_with_its_remedy(deployed, name) -> None:
    row: Row = MATRIX[name]
    set_up(deployed.tables, row.case)
    deployed.undo.callback(deployed.run, "source", row.case.undo)
    deployed.undo.callback(deployed.run, "target", row.case.target_undo)
    row.breaks(deployed)
    found = faults(deployed, row.check)
    assert [one for one in found if row.problem in one.problem], found
    assert [one for one in found if row.remedy in one.remedy], found
    assert all(one.remedy for one in found)
    if row.paste:
        for fault in found:
            paste(deployed, row.paste, fault)
        assert faults(deployed, row.check) == []


def test_every_check_has_a_misconfiguration(deployed) -> None:
    checks = {
        f"{group.name.split()[0]}/{check}"
        for group in groups(deployed.deployment)
        for check in group.checks
    }
    assert checks == {row.check for row in MATRIX.values()} | OWN_TESTS
    assert len(MATRIX) >= 30


def test_pooler_of_transactions_is_found(postgres, deployed) -> None:
    deployed.tables.create()
    with pooling(postgres, "transaction") as through:
        port = through(f":{postgres.port}/").strip(":/")
        deployed.connect_differently("south", "dsn", port=port)
        (fault,) = faults(deployed, "database/writer_login")
    assert "session of role sink_writer" in fault.problem
    assert "set pool_mode = session in the pooler" in fault.remedy


# -- capture -----------------------------------------------------------------------------------


def test_dropped_slot_is_found_until_capture_runs(deployed, capture) -> None:
    deployed.tables.create()
    with_properties(deployed, r"{s}\.t")
    assert faults(deployed, "database/slot") == []
    capture.drop()
    (fault,) = faults(deployed, "database/slot")
    assert "has no replication slot sink_doctor" in fault.problem
    assert "sink-runner batch NAME --full" in fault.remedy
    capture.create()
    (fault,) = faults(deployed, "database/slot")
    assert "is not in use" in fault.problem
    assert fault.remedy.startswith("start capture")
    capture.start()
    assert faults(deployed, "database/slot") == []


def test_slot_is_found_before_and_after_its_loss(deployed, capture) -> None:
    deployed.tables.create()
    capture.stop()
    log = "; ".join(["SELECT pg_logical_emit_message(false, 'a', 'a'), pg_switch_wal()"] * 3)
    limit = "ALTER SYSTEM SET max_slot_wal_keep_size = '{}'; SELECT pg_reload_conf()"
    deployed.run("source", log)
    deployed.run("source", limit.format("64MB"), undo=limit.format("2GB"))
    (fault,) = faults(deployed, "database/slot_retention")
    assert "is lost beyond 64 MB" in fault.problem
    paste(deployed, "source", fault)
    assert faults(deployed, "database/slot_retention") == []
    deployed.run("source", limit.format("16MB"))
    deployed.run("source", log)
    deployed.run("source", "CHECKPOINT")
    (fault,) = faults(deployed, "database/slot")
    assert "sink_doctor of database north is lost" in fault.problem
    assert fault.sql == "SELECT pg_drop_replication_slot('sink_doctor')"
    paste(deployed, "source", fault)
    capture.create()
    capture.start()
    assert faults(deployed, "database/slot") == []


# -- a server that was set up for something else -----------------------------------------------


@pytest.fixture
def small(registry: FakeRegistry, monkeypatch, tmp_path) -> Iterator[Site]:
    """A deployment on a server whose log is not decoded, and that has one slot and one origin."""
    settings = {"wal_level": "replica", "max_replication_slots": "1", "max_wal_senders": "1"}
    for name, value in settings.items():
        monkeypatch.setitem(testing_postgres._SETTINGS, name, value)
    with running(installed(os.environ)[0]) as server, ExitStack() as undo:
        tables = MappedTables(server, ("smart_warehouse", "smart_citizen"))
        tables.create()
        yield Site(tables, registry, tmp_path, monkeypatch, undo)
        tables.close()


_PENDING = "SELECT name FROM pg_settings WHERE pending_restart ORDER BY 1"


def test_limits_of_server_are_found(small) -> None:
    (fault,) = faults(small, "database/wal_level")
    assert "is not logical" in fault.problem
    small.run("target", "SELECT pg_replication_origin_create('other')")
    (origins,) = faults(small, "mapping/origins")
    assert "0 of 1 replication origins free" in origins.problem
    small.run("source", "SELECT pg_create_physical_replication_slot('other')")
    (slots,) = faults(small, "database/replication_limits")
    assert "all 1 of max_replication_slots" in slots.problem
    for one in (fault, slots):
        paste(small, "source", one)
    small.run("source", "SELECT pg_reload_conf()")
    expected = [("max_replication_slots",), ("wal_level",)]
    eventually(lambda: small.tables.source.execute(_PENDING).fetchall() == expected)
