"""Sessions have the runner's settings, whatever database, role or pooler set before."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sink_runner.errors import ConfigError, FatalError
from sink_runner.postgres.error_classes import classify_error
from sink_runner.postgres.session import SETTINGS, connect, renew_commit_time, use_origin

pytestmark = pytest.mark.postgres

OTHER_SETTINGS = {
    "default_transaction_isolation": "repeatable read",
    "search_path": "pg_temp",
    "TimeZone": "Asia/Kolkata",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "extra_float_digits": "-4",
    "bytea_output": "escape",
    "array_nulls": "off",
    "xmloption": "document",
    "lc_monetary": "C.UTF-8",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
}


@pytest.fixture(scope="module")
def database(postgres) -> str:
    """A database that sets every setting to another value, for itself or for the role."""
    name = postgres.fresh_database("smart_citizen", migrated=False)
    with psycopg.connect(postgres.dsn(name), autocommit=True) as admin:
        for number, (setting, value) in enumerate(OTHER_SETTINGS.items()):
            scope = f"ROLE sink_writer IN DATABASE {name}" if number % 2 else f"DATABASE {name}"
            admin.execute(f"ALTER {scope} SET {setting} = {_value(setting, value)}".encode())
    return name


def _value(setting: str, value: str) -> str:
    return value if setting in {"search_path", "DateStyle"} else f"'{value}'"


def test_settings_override_defaults_of_database_and_role(postgres, database) -> None:
    with closing(connect(postgres.dsn(database, "sink_writer"), "test")) as session:
        found = {name: _show(session, name) for name in SETTINGS}
    assert found == SETTINGS
    assert OTHER_SETTINGS.keys() == SETTINGS.keys()


def test_operators_of_extensions_are_found(postgres) -> None:
    """Without the extension's schema, citext compares like text, and hstore cannot be compared."""
    name = postgres.fresh_database("smart_citizen", migrated=False)
    with psycopg.connect(postgres.dsn(name), autocommit=True) as admin:
        admin.execute(b'CREATE SCHEMA "of Extensions"')
        admin.execute(b'CREATE EXTENSION citext SCHEMA "of Extensions"')
        admin.execute(b'GRANT USAGE ON SCHEMA "of Extensions" TO sink_writer')
    with closing(connect(postgres.dsn(name, "sink_writer"), "test")) as session:
        found = session.execute("SELECT 'a'::\"of Extensions\".citext = 'A'").fetchone()
        path = _show(session, "search_path")
    assert (found, path) == ((True,), 'public, "of Extensions"')


def _show(session: psycopg.Connection, name: str) -> str:
    return session.execute("SELECT current_setting(%s)", (name,)).fetchone()[0]


def test_transactions_are_read_committed(postgres, database) -> None:
    """Under repeatable read, a row that was deleted concurrently would be written again."""
    dsn = postgres.dsn(database, "sink_writer")
    with closing(connect(dsn, "test")) as session, session.transaction():
        isolation = session.execute("SHOW transaction_isolation").fetchone()
    assert isolation == ("read committed",)


class Pooler:
    """Forwards bytes to the server, and applies `change` to those of the client."""

    def __init__(self, port: int, change: Callable[[bytes], bytes]) -> None:
        self._upstream, self._change = port, change
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._upstream))
            for one, other, change in (
                (client, server, self._change),
                (server, client, lambda data: data),
            ):
                threading.Thread(target=_copy, args=(one, other, change), daemon=True).start()

    def close(self) -> None:
        self._listener.close()


def _copy(one: socket.socket, other: socket.socket, change: Callable[[bytes], bytes]) -> None:
    with one, other:
        try:
            while data := one.recv(65536):
                other.sendall(change(data))
        except OSError:
            return


@pytest.fixture
def pooler(postgres) -> Iterator[Callable[..., str]]:
    """Return a function that makes a DSN through such a pooler."""
    poolers: list[Pooler] = []

    def make(database: str, change: Callable[[bytes], bytes]) -> str:
        poolers.append(Pooler(postgres.port, change))
        dsn: str = postgres.dsn(database, "sink_writer")
        return dsn.replace(f":{postgres.port}/", f":{poolers[-1].port}/")

    yield make
    for one in poolers:
        one.close()


def test_pooler_that_drops_settings_is_named(pooler, database) -> None:
    """What is set for one transaction alone is gone with the next, as behind such a pooler."""
    dsn = pooler(database, lambda data: data.replace(b"value, false)", b"value, true )"))
    with pytest.raises(ConfigError, match=r"sink_writer in database .*pool_mode = session"):
        connect(dsn, "test").close()


def test_pooler_that_passes_settings_is_accepted(pooler, database) -> None:
    connect(pooler(database, lambda data: data), "test").close()


def test_other_session_of_pooler_is_detected(postgres, database) -> None:
    """A pooler resets a session before it gives it to another client."""
    with closing(connect(postgres.dsn(database, "sink_writer"), "test")) as session:
        use_origin(session, "pooled")
        renew_commit_time(session)
        session.execute("RESET ALL")
        with pytest.raises(FatalError, match="another one than before"):
            renew_commit_time(session)


def test_failed_connection_error_has_address(postgres, database) -> None:
    dsn = make_conninfo(postgres.dsn(database, "sink_writer"), dbname="unknown")
    with pytest.raises(psycopg.OperationalError) as caught:
        connect(dsn, "test")
    parameters = conninfo_to_dict(dsn)
    assert str(classify_error(caught.value)) == (
        f"no connection to database unknown at {parameters['host']}:{parameters['port']} "
        'as sink_writer (database "unknown" does not exist): OperationalError'
    )


@pytest.mark.parametrize("dsn", ["hunter2", "host=127.0.0.1 hunter2=1"])
def test_unreadable_connection_string_is_a_configuration_error(dsn: str) -> None:
    with pytest.raises(ConfigError, match="expected postgresql://") as caught:
        connect(dsn, "test")
    assert "hunter2" not in str(caught.value)
