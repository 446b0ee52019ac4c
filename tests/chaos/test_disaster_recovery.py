"""docs/guide/disaster-recovery.md, run: the portal's database comes back from a backup."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from ..stack import load
from ..stack.arena import told
from ..stack.people import People
from ..stack.writes import delete, insert, update
from .ground import Ground

pytestmark = [pytest.mark.stack, pytest.mark.chaos]

ROOT = Path(__file__).parents[2]
RUNBOOK = ROOT / "docs" / "guide" / "disaster-recovery.md"
_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
_SECONDS = 240
_DOCUMENTS = "sink-runner batch documents --full"
_CHANGES = 60
_RATE = 15.0
_SEED = 77_090
# More than the new log will write: what it says is then older, as far as positions go.
_GROW = (
    "SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000000)) FROM generate_series(1, 64)"
)
_SLOT = "SELECT pg_drop_replication_slot('sink_citizen')"
_HERE = "SELECT (pg_current_wal_lsn() - '0/0')::bigint"
_HIGHEST = "SELECT max(position) FROM sink.row_version WHERE mapping = 'documents'"
_KNOWN = "SELECT verification_status, is_deleted FROM document_metadata WHERE document_id = %s"
_GOLDEN = "SELECT gr_id::text, city_village FROM golden_records WHERE jan_aadhaar = %s"


def commands() -> list[str]:
    """Every command of the runbook, in its order."""
    blocks = _BLOCK.findall(RUNBOOK.read_text(encoding="utf-8"))
    lines = [line for block in blocks for line in block.splitlines()]
    assert all(line.startswith("$ ") for line in lines), "the runbook shows commands alone"
    return [line.removeprefix("$ ") for line in lines]


class Operator:
    """Types what the runbook says."""

    def __init__(self, ground: Ground, folder: Path) -> None:
        layout = ground.stack.stack.layout
        text = (ROOT / "sink-runner.toml").read_text(encoding="utf-8")
        config = folder / "sink-runner.toml"
        config.write_text(text.replace(".stack/stack.env", str(layout.settings)))
        (folder / "ranger-policies").symlink_to(ROOT / "ranger-policies")
        ours = {name for name in os.environ if name.startswith(("SINK_", "STACK_"))}
        self._environment = {
            **{name: text for name, text in os.environ.items() if name not in ours},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "STACK": "native",
            "SINK_STACK_HOME": str(layout.home),
            "SINK_STACK_CACHE": str(layout.cache),
            "SINK_CONFIG": str(config),
            "BACKUP": str(folder / "backup"),
        }

    def types(self, command: str) -> None:
        ended = subprocess.run(
            ["bash", "-c", command],
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
        print(f"$ {command}\n{ended.stdout}")
        assert ended.returncode == 0, f"{command}\n{ended.stdout}"


@pytest.fixture
def operator(ground: Ground, tmp_path: Path) -> Iterator[Operator]:
    """In the end nobody runs beside the ground's own runner."""
    made = Operator(ground, tmp_path)
    yield made
    made.types("sink-stack stop schedule api runner")


class Portal:
    """A citizen of the portal and three documents, one for each thing that may befall it."""

    def __init__(self, people: People) -> None:
        self.citizen, self.number = people.uuid(), people.number()
        self.late, self.late_number = people.uuid(), people.number()
        self.changed, self.new, self.deleted = (people.uuid() for _ in range(3))
        self._people = people

    def before(self, citizen: psycopg.Connection) -> None:
        self._register(citizen, self.citizen, self.number)
        for key in (self.changed, self.deleted):
            self._upload(citizen, key)

    def in_the_lost_hour(self, citizen: psycopg.Connection) -> None:
        update(
            citizen, "public.documents", ("id", self.changed), {"verification_status": "REJECTED"}
        )
        update(citizen, "public.citizens", ("id", self.citizen), {"city": "Lost"})
        delete(citizen, "public.documents", ("id", self.deleted))
        self._upload(citizen, self.new)
        self._register(citizen, self.late, self.late_number)

    def afterwards(self, citizen: psycopg.Connection) -> None:
        for key in (self.changed, self.deleted):
            update(citizen, "public.documents", ("id", key), {"verification_status": "VERIFIED"})
        update(citizen, "public.citizens", ("id", self.citizen), {"city": "Found"})

    def _register(self, citizen: psycopg.Connection, key: str, number: str) -> None:
        states = {"verification_status": "VERIFIED", "aadhaar_number": number}
        insert(citizen, "public.citizens", {"id": key, **states, **self._people.citizen_values()})

    def _upload(self, citizen: psycopg.Connection, key: str) -> None:
        row = {"id": key, "citizen_id": self.citizen, "file_path": "/p", "file_size": 5}
        insert(citizen, "public.documents", {**row, "document_type": "PHOTO"})


def test_restored_database_catches_up_by_the_runbook(ground: Ground, operator: Operator) -> None:
    backup, *recovery = commands()
    assert _DOCUMENTS in recovery
    ground.runner()
    acting, dead_letters = prepared(ground), ground.arena.dead_letters()
    portal = Portal(People(_SEED + 1))
    portal.before(ground.arena.citizen)
    assert ground.seconds_to_rest() is not None
    operator.types(backup)
    remembered = lose_an_hour(ground, acting, portal)
    for command in recovery:
        if command == _DOCUMENTS:
            ground.arena.runs.append(("document_metadata", datetime.now(UTC)))
        operator.types(command)
    ground.reconnect()
    assert number(ground.arena.citizen, _HERE) < remembered, "the positions did not rewind"
    portal.afterwards(ground.arena.citizen)
    assert ground.seconds_to_rest() is not None
    late = known_of(ground.arena.warehouse, portal)
    with ground.loaded():
        ground.pause(4, 6)
    assert ground.seconds_to_rest() is not None
    left = [one for one in ground.differences() if one.key not in {portal.new, late}]
    assert not left, told(left)
    assert ground.arena.dead_letters() == dead_letters


def prepared(ground: Ground) -> load.Load:
    """A load that knows both sides; some of it is done."""
    acting = load.Load(
        warehouse=ground.arena.warehouse,
        citizen=ground.arena.citizen,
        people=People(_SEED),
        rate=_RATE,
    )
    acting.look()
    for _ in range(_CHANGES):
        acting.act()
    return acting


def lose_an_hour(ground: Ground, acting: load.Load, portal: Portal) -> int:
    """What is written after the backup, all of it applied; then the database is gone.

    Returns the highest position that the other side remembers of it.
    """
    ground.arena.citizen.execute(_GROW)
    for _ in range(_CHANGES):
        warehouse_acts(acting)
    portal.in_the_lost_hour(ground.arena.citizen)
    assert ground.seconds_to_rest() is not None
    assert not ground.differences()
    for _ in range(_CHANGES):
        warehouse_acts(acting)  # some of it is on its way when it happens
    ground.kill_runner()
    ground.stack.kill("citizen")
    ground.arena.citizen.close()
    with ground.stack.admin("smart_warehouse") as server:
        server.execute("ALTER DATABASE smart_citizen ALLOW_CONNECTIONS false")
        server.execute("SELECT pg_sleep(0.5)")
        server.execute(_SLOT)
        server.execute("DROP DATABASE smart_citizen WITH (FORCE)")
    return number(ground.arena.warehouse, _HIGHEST)


def warehouse_acts(acting: load.Load) -> None:
    """One of the actions that write to the warehouse alone."""
    ours: Mapping[str, Callable[..., object]] = {
        action.__qualname__: action
        for action in acting.actions
        if action.__qualname__.startswith(("GoldenLoad", "SnapshotLoad", "ModelLoad"))
    }
    action, remember = ours[acting.people.random.choice(sorted(ours))], None
    with suppress(errors.IntegrityError), acting.warehouse.transaction():
        remember = action(acting.warehouse)
    if callable(remember):
        remember()


def known_of(warehouse: psycopg.Connection, portal: Portal) -> str:
    """What the portal says now is what holds, and what it forgot is no more, but for a citizen.

    Returns the golden record of the one who registered in the lost hour.
    """
    assert warehouse.execute(_KNOWN, (portal.changed,)).fetchone() == ("VERIFIED", False)
    assert warehouse.execute(_KNOWN, (portal.deleted,)).fetchone() == ("VERIFIED", False)
    ((_, gone),) = warehouse.execute(_KNOWN, (portal.new,)).fetchall()
    assert gone, "a document that nobody has is still there"
    ((_, city),) = warehouse.execute(_GOLDEN, (portal.number,)).fetchall()
    assert city == "Found"
    ((late, _),) = warehouse.execute(_GOLDEN, (portal.late_number,)).fetchall()
    return str(late)


def number(connection: psycopg.Connection, query: str) -> int:
    ((found,),) = connection.execute(query.encode()).fetchall()
    return int(found)
