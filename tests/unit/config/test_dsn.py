"""Connection strings: what libpq gets, and what is refused before it connects."""

import re
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

import sink_runner
from sink_runner.config.database import Database
from sink_runner.config.dsn import Dsn
from sink_runner.config.reader import SettingsReader
from sink_runner.errors import ConfigError

REMOTE = "host=db.example user=sink dbname=north"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGSSLMODE", "PGSERVICE", "PGSERVICEFILE", "PGPASSWORD", "PGUSER"):
        monkeypatch.delenv(name, raising=False)


def conninfo(dsn: Dsn) -> dict[str, Any]:
    return conninfo_to_dict(dsn.conninfo())


def database(**table: Any) -> Database:
    return SettingsReader().read(Database, {"dsn": "", "reader_dsn": ""} | table, "databases.north")


@pytest.mark.parametrize(
    "dsn",
    [
        REMOTE,
        f"{REMOTE} password=hunter2",
        "postgresql://sink:hunter2@db.example/north",
        *(f"{REMOTE} sslmode={mode}" for mode in ("disable", "allow", "prefer")),
        "host=localhost,db.example",
        "host=localhost hostaddr=192.0.2.1",
        "host=127.0.0.1,192.0.2.1 port=1,2",
        "host=2001:db8::1",
        "host=127.0.0.1.example",
    ],
)
def test_plaintext_to_another_host_is_refused(dsn: str) -> None:
    with pytest.raises(ConfigError, match=r"sslmode=verify-full and sslrootcert in dsn, or allow"):
        Dsn.of(dsn).conninfo()
    with pytest.raises(ConfigError) as caught:
        database(dsn=dsn).dsn.conninfo()
    assert "hunter2" not in str(caught.value)
    assert conninfo(database(dsn=dsn, allow_plaintext_credentials=True).dsn)


@pytest.mark.parametrize(
    "dsn",
    [
        "",
        "host=localhost",
        "host=127.0.0.1,::1,/run/postgresql port=1,2,3",
        "host=@abstract",
        "host=db.example hostaddr=127.0.0.1",
        *(f"{REMOTE} sslmode={mode}" for mode in ("require", "verify-ca", "verify-full")),
        f"{REMOTE} sslrootcert=system",
        "postgresql://sink@db1.example:5432,db2.example/north?sslmode=verify-full",
    ],
)
def test_local_or_encrypted_connections_are_accepted(dsn: str) -> None:
    assert conninfo(database(dsn=dsn).dsn)["sslpassword"]


def test_environment_adds_to_connection_string(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.example")
    with pytest.raises(ConfigError, match=r"at db\.example:5432 as .*sslmode=prefer"):
        Dsn.of("").conninfo()
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert conninfo(Dsn.of(""))["host"] == "db.example"


def test_service_file_adds_to_connection_string(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hosts become part of the connection string; its password does not, as libpq reads it."""
    service = tmp_path / "services.conf"
    lines = ["host=db1.example,db2.example", "user=sink", "dbname=north", "password=hunter2"]
    service.write_text("\n".join(["[north]", *lines]))
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    with pytest.raises(ConfigError, match=r"north at db1\.example,db2\.example:5432 as sink"):
        Dsn.of("service=north").conninfo()
    service.write_text("\n".join(["[north]", *lines, "sslmode=verify-full"]))
    parameters = conninfo(Dsn.of("service=north"))
    assert (parameters["host"], parameters["user"]) == ("db1.example,db2.example", "sink")
    assert "password" not in parameters


def test_password_is_read_for_every_connection(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("first\n")
    table = {"password": {"file": str(path)}, "dsn": "password=replaced"}
    dsn = database(**table).dsn
    assert conninfo(dsn)["password"] == "first"
    path.write_text("second\n")
    assert conninfo(dsn)["password"] == "second"
    path.unlink()
    with pytest.raises(ConfigError, match=r"databases\.north\.password: .*No such file"):
        dsn.conninfo()


def test_connection_string_is_read_for_every_connection(tmp_path: Path) -> None:
    path = tmp_path / "dsn"
    path.write_text("user=first\n")
    dsn = database(reader_dsn={"file": str(path)}).reader_dsn
    path.write_text("user=second\n")
    assert conninfo(dsn)["user"] == "second"


@pytest.mark.parametrize(
    ("dsn", "reason"),
    [
        ("hunter2", "cannot be read: expected postgresql://"),
        ("host=localhost hunter2=1", "cannot be read: expected postgresql://"),
        ("postgresql://sink:hunter2@[localhost/north", "cannot be read: expected postgresql://"),
        ("postgresql://sink:pass@hunter2@localhost/north", "are percent-encoded"),
        ("postgresql://sink:12/hunter2@localhost/north", "are percent-encoded"),
        ("postgresql://sink:hunter2/@localhost/north", "are percent-encoded"),
        ("host=localhost port=hunter2", "cannot be read: expected postgresql://"),
        ("sslmode=hunter2", "cannot be used: invalid sslmode$"),
        ("host=localhost port=1,2 password=hunter2", "could not match 2 port numbers to 1 hosts"),
        ("service=nowhere password=hunter2", 'cannot be used: definition of service "nowhere" not'),
    ],
)
def test_error_of_connection_string_names_setting(dsn: str, reason: str) -> None:
    with pytest.raises(
        ConfigError, match=f"^reader_dsn of .databases. {reason}|{reason}"
    ) as caught:
        database(reader_dsn=dsn).reader_dsn.conninfo()
    assert "hunter2" not in str(caught.value)


def test_repr_contains_no_secret() -> None:
    settings = database(
        dsn="password=hunter2", password="hunter2", reader_dsn="sslpassword=hunter2"
    )
    assert "hunter2" not in repr(settings) + repr(settings.dsn)


def test_all_connections_are_made_by_dsn() -> None:
    """Only this class reads the password for each connection and refuses plaintext."""
    package = Path(sink_runner.__file__).parent
    modules = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if re.search(r"(psycopg|Connection)\.connect\(", path.read_text())
    }
    assert modules == {"config/dsn.py", "testing/target.py"}
