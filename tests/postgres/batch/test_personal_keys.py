"""A source whose key is a person's number: outside the source it is stored only hashed."""

import base64
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sink_runner.dlq import stored_dead_letters as found_dead_letters
from sink_runner.dlq.record import record_of

from .conftest import KEY, STOPPER

pytestmark = pytest.mark.postgres
OWN = Path(__file__).parents[3] / "ranger-policies"
SOURCE, TARGET = "smart_citizen", "smart_warehouse"
MAPPING = """
from sink_runner.errors import EventError
from sink_runner.plugin import *

@hookimpl
def sink_mapping():
    return TableMapping(
        source="smart_citizen.public.people", target="smart_warehouse.public.people",
        key=("person",), conflict=source_wins(), on_remove=Review("data_conflict"),
        needs_before_image=True,
        columns=(
            Column("person", "aadhaar"), Column("state", maximum="y"), Column("mail"),
            Column("place", required=True, lookup=Lookup(
                "SELECT name, name FROM places WHERE name = ANY (%s)", "smart_citizen")),
        ),
    )

@hookimpl
def sink_filter(event):
    if event.row["state"] == "raises":
        raise ValueError(f"no: {event.row['aadhaar']}")
    if event.row["state"] == "fails":
        raise EventError(f"no: {event.row['aadhaar']}")
    return FilterResult.REMOVE if event.row["state"] == "left" else FilterResult.PASS
"""
TABLES = {
    SOURCE: """
        CREATE TABLE people (aadhaar text PRIMARY KEY, state text, mail text, place text);
        CREATE TABLE places (name text PRIMARY KEY);
        INSERT INTO places VALUES ('Kota');
        ALTER TABLE people REPLICA IDENTITY FULL;
        ALTER PUBLICATION sink_publication ADD TABLE people;
        GRANT SELECT ON people, places TO sink_reader;
    """,
    TARGET: """
        CREATE TABLE people (person text PRIMARY KEY, state text CHECK (state <> 'checked'),
          mail text UNIQUE, place text);
        CREATE FUNCTION quoting() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          RAISE EXCEPTION 'of %', new USING DETAIL = new::text, CONSTRAINT = new.person;
        END $$;
        CREATE TRIGGER quoting BEFORE INSERT ON people FOR EACH ROW
          WHEN (new.state = 'quoted') EXECUTE FUNCTION quoting();
        GRANT SELECT, INSERT, UPDATE, DELETE ON people TO sink_writer;
    """,
}
STATES = ("good", "checked", "raises", "fails", "left", "quoted", "good", "zzz", "good")
ROWS = 40


def number(n: int) -> str:
    return f"99117722{n:02}55"


def canaries() -> list[str]:
    """Return the numbers as text, and as PostgreSQL prints bytes."""
    numbers = [number(n) for n in range(ROWS)]
    return numbers + [one.encode().hex() for one in numbers]


def assert_no_canary(text: str) -> None:
    assert [one for one in canaries() if one in text] == []


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    folder = tmp_path / "policies"
    shutil.copytree(OWN, folder)
    columns = {"smart_citizen.public.people": {"aadhaar": ["ID"]}}
    not_personal = {
        f"{name}.public.people": dict.fromkeys(("state", "mail", "place", "person"), "made up")
        for name in (SOURCE, TARGET)
    }
    not_personal["smart_citizen.public.places"] = {"name": "made up"}
    content = {"tags": {"ID": "a number"}, "columns": columns, "not_personal": not_personal}
    (folder / "classification.json").write_text(json.dumps(content))
    names = {"database": SOURCE, "schema": "public", "table": "people", "column": "aadhaar"}
    item = {
        "accesses": [{"type": "select", "isAllowed": True}],
        "groups": [TARGET],
        "dataMaskInfo": {"dataMaskType": "MASK_HASH"},
    }
    policy = {
        "id": 1,
        "version": 1,
        "name": "numbers",
        "policyType": 1,
        "resources": {level: {"values": [name]} for level, name in names.items()},
        "dataMaskPolicyItems": [item],
    }
    content = {"serviceName": "s", "policyVersion": 1, "policies": [policy]}
    (folder / "policies.json").write_text(json.dumps(content))
    return folder


class Shell:
    """Runs commands on both databases and asserts that their output has no canary."""

    def __init__(self, pair: Any, call: Any, path: Path) -> None:
        self.pair, self._call, self._path = pair, call, path

    def __call__(self, command: str, *argv: str) -> tuple[int, str]:
        code, out, err = self._call(command, "--config", str(self._path), *argv)
        assert_no_canary(out + err)
        return code, out + err

    def last_keys(self) -> list[Any]:
        query = "SELECT outcome, last_key FROM sink.batch_run ORDER BY run"
        return self.pair.warehouse.execute(query).fetchall()


@pytest.fixture
def shell(
    *,
    pair: Any,
    site: Any,
    call: Any,
    policies: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Shell:
    site.plugin("people", MAPPING)
    site.plugin("stopper", STOPPER.format(chunks=2))
    for name, connection in ((SOURCE, pair.citizen), (TARGET, pair.warehouse)):
        connection.execute(TABLES[name])
    rows = [
        (number(n), STATES[n % len(STATES)], f"m{n % 35}", "Kota" if n % 11 else "unknown")
        for n in range(ROWS)
    ]
    with pair.citizen.cursor() as cursor:
        cursor.executemany("INSERT INTO people VALUES (%s, %s, %s, %s)", rows)
    databases = pair.config().databases
    lines = [
        "retry_steps = [0.05]",
        '[kafka]\nbootstrap = "127.0.0.1:1"',
        '[registry]\nurl = "http://127.0.0.1:1"',
        *(
            f'[databases.{name}]\ndsn = "{one.dsn.read()}"\nreader_dsn = "{reader}"'
            for name, one in databases.items()
            for reader in [one.reader_dsn.read()]
        ),
        f'[policies]\ndirectory = "{policies}"\nkey = "{"k" * 40}"',
        f'[dead_letters]\nkey = "{KEY}"\nkey_id = "test"',
        "[batch]\nmax_rows = 6\nsettle_seconds = 0.1",
    ]
    path = policies.parent / "sink-runner.toml"
    path.write_text("\n".join(lines))
    monkeypatch.setenv("SINK_PLUGINS", "people")
    return Shell(pair, call, path)


def stored_rows(connection: psycopg.Connection) -> Iterator[tuple[str, str]]:
    """Yield each row of each table as text, with the name of its table."""
    tables = connection.execute(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
        "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    ).fetchall()
    for (table,) in tables:
        for (row,) in connection.execute(f"SELECT t::text FROM {table} t").fetchall():
            yield table, row


def test_personal_key_is_never_stored_or_printed(
    shell: Shell, pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SINK_PLUGINS", "people,stopper")
    code, _ = shell("batch", "people", "--full")
    ((outcome, (encrypted,)),) = shell.last_keys()
    assert (code, outcome, encrypted[:7]) == (1, "interrupted", "sealed:")
    monkeypatch.setenv("SINK_PLUGINS", "people")
    code, out = shell("batch", "people", "--full", "--json")
    counts = json.loads(out[out.index("{") :])["counts"]
    assert counts["read"] == ROWS, (
        "the run must resume after the encrypted key and read no row twice"
    )
    ((outcome, _),) = shell.last_keys()
    assert outcome == "done"

    for connection in (pair.citizen, pair.warehouse):
        source = {"public.people"} if connection is pair.citizen else set()
        for table, row in stored_rows(connection):
            if table not in source:
                assert_no_canary(row)

    code, out = shell("dlq", "list", "--status", "ALL", "--json", "--most", "500")
    found = json.loads(out)
    kinds = {one["error_class"] for one in found}
    assert {"WriteError", "StepError", "EventError", "WaitingError"} <= kinds
    for one in found:
        shell("dlq", "show", one["id"])
        shell("dlq", "show", one["id"], "--json")
    for kind in kinds:
        shell("dlq", "explain", next(one["id"] for one in found if one["error_class"] == kind))
    for argv in (
        ("dlq", "list", "--status", "ALL", "--wide"),
        ("dlq", "list", "--summary"),
        ("dlq", "export", "--status", "ALL"),
        ("dlq", "export", "--status", "ALL", "--format", "csv"),
        ("conflicts", "list", "--all", "--wide"),
        ("conflicts", "list", "--all", "--json"),
        ("audit", "--json"),
        ("quality",),
    ):
        _, out = shell(*argv)
        assert out
    numbers = [int(one["id"].rpartition("/")[2]) for one in found]
    for dead_letter in found_dead_letters.read(pair.warehouse, numbers):
        record = record_of(dead_letter, TARGET)
        assert_no_canary(repr(record))
        assert_no_canary((record.key or b"").hex() + (record.value or b"").hex())


def test_unmasked_key_of_earlier_version_is_removed(shell: Shell, pair: Any) -> None:
    shell("batch", "people", "--full")
    pair.warehouse.execute("UPDATE sink.batch_run SET last_key = %s", ([number(3)],))
    shell("batch", "people", "--full")
    assert next(key for _, key in shell.last_keys()) is None
    assert len(shell.last_keys()) == 2


def test_run_restarts_if_position_cannot_be_decrypted(
    shell: Shell, pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key was rotated while the run was interrupted; its written rows are kept."""
    monkeypatch.setenv("SINK_PLUGINS", "people,stopper")
    shell("batch", "people", "--full")
    other = base64.b64encode(os.urandom(80)).decode()
    pair.warehouse.execute("UPDATE sink.batch_run SET last_key = %s", ([f"sealed:{other}"],))
    monkeypatch.setenv("SINK_PLUGINS", "people")
    shell("batch", "people", "--full")
    assert [outcome for outcome, _ in shell.last_keys()] == ["abandoned", "done"]
