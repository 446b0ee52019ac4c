"""`sink-runner grants`: its statements suffice for new databases, and grant no more than needed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sink_stack.testing_postgres import DATABASES

from sink_runner.config import Config, Database, DeadLetters, Kafka, Policies, Registry
from sink_runner.config.dsn import Dsn
from sink_runner.loading import discovery
from sink_runner.plugin import TableMapping
from sink_runner.postgres.grants import Roles, grants
from sink_runner.preflight.checklist import check_mapping

from ...support import guide

ROOT = Path(__file__).parents[3]
ROLES = Roles(capture="sink_capture", writer="sink_writer", reader="sink_reader")
DELETABLE = """
SELECT oid::regclass::text FROM pg_class
WHERE relkind = 'r' AND relnamespace <> 'sink'::regnamespace
  AND has_table_privilege('sink_writer', oid, 'DELETE') ORDER BY 1
"""


def create_database(postgres, name: str) -> psycopg.Connection:
    """Create an empty database and return a session of the administrator."""
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name}".encode())
        admin.execute(f"CREATE DATABASE {name}".encode())
    return psycopg.connect(postgres.dsn(name), autocommit=True)


@pytest.fixture(scope="module")
def mappings() -> dict[str, TableMapping]:
    installed = discovery.installed()
    names = {path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml")}
    for name in names:
        discovery.load(installed[name])
    return {name: found for name in names if (found := installed[name].mapping) is not None}


@pytest.fixture(scope="module")
def granted(postgres, mappings: dict[str, TableMapping]) -> Iterator[dict[str, str]]:
    """Names of databases with the tables, in which the printed grants were run twice."""
    names = {}
    for database in DATABASES:
        names[database] = f"granted_{database}"
        with create_database(postgres, names[database]) as admin:
            folder = ROOT / "compose" / "sql"
            admin.execute((folder / database / "10-tables.sql").read_bytes())
            statements = "\n".join(grants(database, mappings, ROLES))
            for _ in range(2):
                admin.execute(statements.encode())
    return names


def config(postgres, names: dict[str, str]) -> Config:
    return Config(
        kafka=Kafka(bootstrap="127.0.0.1:1"),
        registry=Registry(url="http://127.0.0.1:1"),
        databases={
            name: Database(
                dsn=Dsn.of(postgres.dsn(actual, "sink_writer")),
                reader_dsn=Dsn.of(postgres.dsn(actual, "sink_reader")),
            )
            for name, actual in names.items()
        },
        dead_letters=DeadLetters(key="x", key_id="one"),
        policies=Policies(directory=ROOT / "ranger-policies"),
    )


def test_printed_grants_suffice_for_every_mapping(
    postgres, granted: dict[str, str], mappings: dict[str, TableMapping]
) -> None:
    checks = {"reader_privileges", "writer_privileges", "control"}
    refusals = [
        finding.text
        for name, mapping in mappings.items()
        for finding in check_mapping(name, mapping, config(postgres, granted)).findings
        if finding.check in checks
    ]
    assert refusals == []


def test_grants_let_writer_delete_no_more_than_stack(postgres, granted: dict[str, str]) -> None:
    for database, name in granted.items():
        found = []
        for one in (name, database):
            with psycopg.connect(postgres.dsn(one)) as admin:
                found.append(admin.execute(DELETABLE.encode()).fetchall())
        assert found[0] == found[1]


def test_lookup_queries_are_printed(mappings: dict[str, TableMapping]) -> None:
    printed = "\n".join(grants("smart_citizen", mappings, ROLES))
    assert (
        "-- mapping documents: let role sink_reader read for this: SELECT id::text, aad" in printed
    )


# -- the README's example, from CREATE DATABASE to the first row -----------------------------------

ROWS = """
INSERT INTO orders VALUES (1, 'c-17', 12.5, 'inr', now(), 'paid'),
  (2, 'c-18', 1, 'inr', now(), 'cancelled');
"""
CONFIG = """
[kafka]
bootstrap = "127.0.0.1:1"
[registry]
url = "http://127.0.0.1:1"
[policies]
directory = "{policies}"
[dead_letters]
key = "{key}"
key_id = "one"
[plugins]
enabled = ["orders"]
"""


def test_readme_example_runs_between_two_new_databases(
    postgres: Any, site: Any, call: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = guide.files()
    site.plugin("orders", files["orders.py"])
    monkeypatch.delenv("SINK_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    text = CONFIG.format(key="A" * 43 + "=", policies=ROOT / "ranger-policies")
    for name in ("north", "south"):
        writer, reader = (postgres.dsn(name, role) for role in ("sink_writer", "sink_reader"))
        text += f'[databases.{name}]\ndsn = "{writer}"\nreader_dsn = "{reader}"\n'
    (tmp_path / "sink-runner.toml").write_text(text)
    with create_database(postgres, "north") as north, create_database(postgres, "south") as south:
        north.execute(files["north.sql"].encode())
        north.execute(ROWS)
        south.execute(files["south.sql"].encode())
        for admin, name in ((north, "north"), (south, "south")):
            code, out, err = call("grants", "--database", name)
            assert (code, err) == (0, "")
            admin.execute(out.encode())
        north.execute(files["capture.sql"].encode())
        code, _, err = call("batch", "orders", "--full")
        assert (code, err) == (0, "")
        query = "SELECT order_id, customer, currency FROM orders"
        assert south.execute(query).fetchall() == [(1, "c-17", "INR")]
