"""Restore the portal's database from a backup by docs/guide/disaster-recovery.md."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from ..stack import load
from ..stack.deployment import describe_differences
from ..stack.people import People
from ..stack.writes import delete, insert, update
from ..support.operator import Operator
from .harness import Harness

pytestmark = [pytest.mark.stack, pytest.mark.chaos]

ROOT = Path(__file__).parents[2]
RUNBOOK = ROOT / "docs" / "guide" / "disaster-recovery.md"
_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
_DOCUMENTS_BATCH = "sink-runner batch documents --full"
_CHANGES = 60
_RATE = 15.0
_SEED = 77_090
# More WAL than the restored database will write, so that its positions are lower at first.
_WRITE_WAL = (
    "SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000000)) FROM generate_series(1, 64)"
)
_DROP_SLOT = "SELECT pg_drop_replication_slot('sink_citizen')"
_CURRENT_POSITION = "SELECT (pg_current_wal_lsn() - '0/0')::bigint"
_HIGHEST_POSITION = "SELECT max(position) FROM sink.row_version WHERE mapping = 'documents'"
_DOCUMENT = "SELECT verification_status, is_deleted FROM document_metadata WHERE document_id = %s"
_GOLDEN_RECORD = "SELECT gr_id::text, city_village FROM golden_records WHERE jan_aadhaar = %s"


def read_commands() -> list[str]:
    """Return the commands of the runbook in their order."""
    blocks = _BLOCK.findall(RUNBOOK.read_text(encoding="utf-8"))
    lines = [line for block in blocks for line in block.splitlines()]
    assert all(line.startswith("$ ") for line in lines), (
        "a console block of the runbook contains other lines than commands"
    )
    return [line.removeprefix("$ ") for line in lines]


@pytest.fixture
def operator(harness: Harness, tmp_path: Path) -> Iterator[Operator]:
    """An operator of the stack; the services that the runbook starts are stopped afterwards."""
    operator = Operator(harness.stack.stack.layout, tmp_path)
    yield operator
    operator.run("sink-stack stop schedule api runner")


class PortalRows:
    """A citizen with documents that are changed, added or deleted after the backup.

    Another citizen registers after the backup, so the restored database does not have that row.
    """

    def __init__(self, people: People) -> None:
        self.citizen, self.number = people.uuid(), people.number()
        self.late_citizen, self.late_number = people.uuid(), people.number()
        self.changed, self.new, self.deleted = (people.uuid() for _ in range(3))
        self._people = people

    def write_before_backup(self, citizen: psycopg.Connection) -> None:
        self._register(citizen, self.citizen, self.number)
        for key in (self.changed, self.deleted):
            self._upload(citizen, key)

    def write_after_backup(self, citizen: psycopg.Connection) -> None:
        update(
            citizen, "public.documents", ("id", self.changed), {"verification_status": "REJECTED"}
        )
        update(citizen, "public.citizens", ("id", self.citizen), {"city": "Lost"})
        delete(citizen, "public.documents", ("id", self.deleted))
        self._upload(citizen, self.new)
        self._register(citizen, self.late_citizen, self.late_number)

    def write_after_restore(self, citizen: psycopg.Connection) -> None:
        for key in (self.changed, self.deleted):
            update(citizen, "public.documents", ("id", key), {"verification_status": "VERIFIED"})
        update(citizen, "public.citizens", ("id", self.citizen), {"city": "Found"})

    def _register(self, citizen: psycopg.Connection, key: str, number: str) -> None:
        states = {"verification_status": "VERIFIED", "aadhaar_number": number}
        insert(citizen, "public.citizens", {"id": key, **states, **self._people.citizen_values()})

    def _upload(self, citizen: psycopg.Connection, key: str) -> None:
        row = {"id": key, "citizen_id": self.citizen, "file_path": "/p", "file_size": 5}
        insert(citizen, "public.documents", {**row, "document_type": "PHOTO"})


def test_runbook_restores_database_from_backup(harness: Harness, operator: Operator) -> None:
    backup, *recovery = read_commands()
    assert _DOCUMENTS_BATCH in recovery
    harness.ensure_runner()
    generator, dead_letters = prepare_load(harness), harness.deployment.count_dead_letters()
    portal = PortalRows(People(_SEED + 1))
    portal.write_before_backup(harness.deployment.citizen)
    assert harness.seconds_to_apply_all() is not None
    operator.run(backup)
    highest_position = lose_database(harness, generator, portal)
    for command in recovery:
        if command == _DOCUMENTS_BATCH:
            harness.deployment.runs.append(("document_metadata", datetime.now(UTC)))
        operator.run(command)
    harness.reconnect()
    assert fetch_number(harness.deployment.citizen, _CURRENT_POSITION) < highest_position, (
        "the restored database has no lower WAL positions"
    )
    portal.write_after_restore(harness.deployment.citizen)
    assert harness.seconds_to_apply_all() is not None
    late_record = check_target(harness.deployment.warehouse, portal)
    with harness.run_load():
        harness.pause(4, 6)
    assert harness.seconds_to_apply_all() is not None
    # The warehouse keeps rows that the restored database does not have.
    unexpected = [
        difference
        for difference in harness.find_differences()
        if difference.key not in {portal.new, late_record}
    ]
    assert not unexpected, describe_differences(unexpected)
    assert harness.deployment.count_dead_letters() == dead_letters


def prepare_load(harness: Harness) -> load.Load:
    """Return a load generator after its first changes."""
    generator = load.Load(
        warehouse=harness.deployment.warehouse,
        citizen=harness.deployment.citizen,
        people=People(_SEED),
        rate=_RATE,
    )
    generator.prepare()
    for _ in range(_CHANGES):
        generator.run_action()
    return generator


def lose_database(harness: Harness, generator: load.Load, portal: PortalRows) -> int:
    """Write rows after the backup, some of them not applied yet, and drop the database.

    Return the highest WAL position of the database that the warehouse has stored.
    """
    harness.deployment.citizen.execute(_WRITE_WAL)
    for _ in range(_CHANGES):
        change_warehouse(generator)
    portal.write_after_backup(harness.deployment.citizen)
    assert harness.seconds_to_apply_all() is not None
    assert not harness.find_differences()
    # Some of these changes are not applied yet when the database is dropped.
    for _ in range(_CHANGES):
        change_warehouse(generator)
    harness.kill_runner()
    harness.stack.kill("citizen")
    harness.deployment.citizen.close()
    with harness.stack.admin("smart_warehouse") as server:
        server.execute("ALTER DATABASE smart_citizen ALLOW_CONNECTIONS false")
        server.execute("SELECT pg_sleep(0.5)")
        server.execute(_DROP_SLOT)
        server.execute("DROP DATABASE smart_citizen WITH (FORCE)")
    return fetch_number(harness.deployment.warehouse, _HIGHEST_POSITION)


def change_warehouse(generator: load.Load) -> None:
    """Run one of the load's actions that write only to the warehouse."""
    actions: Mapping[str, Callable[..., object]] = {
        action.__qualname__: action
        for action in generator.actions
        if action.__qualname__.startswith(("GoldenLoad", "SnapshotLoad", "ModelLoad"))
    }
    action, remember = actions[generator.people.random.choice(sorted(actions))], None
    with suppress(errors.IntegrityError), generator.warehouse.transaction():
        remember = action(generator.warehouse)
    if callable(remember):
        remember()


def check_target(warehouse: psycopg.Connection, portal: PortalRows) -> str:
    """Check that the warehouse follows the restored database: changes, deletions, no lost rows.

    Return the key of the golden record of the citizen that the restored database does not have.
    """
    assert warehouse.execute(_DOCUMENT, (portal.changed,)).fetchone() == ("VERIFIED", False)
    assert warehouse.execute(_DOCUMENT, (portal.deleted,)).fetchone() == ("VERIFIED", False)
    ((_, is_deleted),) = warehouse.execute(_DOCUMENT, (portal.new,)).fetchall()
    assert is_deleted, "a document that the portal does not have is not marked as deleted"
    ((_, city),) = warehouse.execute(_GOLDEN_RECORD, (portal.number,)).fetchall()
    assert city == "Found"
    ((late_record, _),) = warehouse.execute(_GOLDEN_RECORD, (portal.late_number,)).fetchall()
    return str(late_record)


def fetch_number(connection: psycopg.Connection, query: str) -> int:
    ((value,),) = connection.execute(query.encode()).fetchall()
    return int(value)
