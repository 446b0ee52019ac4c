"""Personal keys in the runner's own tables are hashed, and still identify their rows."""

import hashlib
from typing import Any

import psycopg
import pytest

from sink_runner.dlq import key_rotation
from sink_runner.errors import ConfigError
from sink_runner.plugin import Column
from sink_runner.writer.encryption import Encryptor
from sink_runner.writer.key_hashing import KeyText

pytestmark = pytest.mark.postgres

DDL = "id text PRIMARY KEY, name text"
COLUMNS = (Column("id"), Column("name"))
NUMBER = "991177220055"
STORED_KEYS = "SELECT key FROM sink.row_version WHERE mapping = %s"
OLD, NEW = Encryptor(bytes(32), "test"), Encryptor(bytes([1]) * 32, "new")
BOTH = Encryptor(NEW.key, "new", {"test": OLD.key})


@pytest.fixture
def target(written: Any) -> Any:
    """A mapping whose key is personal."""
    return written(DDL, *COLUMNS)


def stored_keys(target: Any) -> list[str]:
    return [key for (key,) in target.connection.execute(STORED_KEYS, (target.name,))]


def test_key_of_deleted_row_is_stored_hashed(target):
    target.write(target.row(NUMBER, "one", position=5), target.gone(NUMBER, position=9))
    (key,) = stored_keys(target)
    assert NUMBER not in key
    guesses = [f'["{NUMBER}"]', NUMBER]
    assert key not in {hashlib.sha256(guess.encode()).hexdigest() for guess in guesses}
    assert target.write(target.row(NUMBER, "older", position=7)) == 0
    assert target.write(target.row(NUMBER, "newer", position=10)) == 1


def test_other_session_computes_same_hash(target):
    target.write(target.row(NUMBER, "one", position=5), target.gone(NUMBER, position=9))
    connection = target.scratch.session()
    target.writer, target.connection = target.another(connection), connection
    assert target.write(target.row(NUMBER, "older", position=7)) == 0
    assert len(stored_keys(target)) == 1


def test_hashing_secret_survives_key_rotation(target):
    target.write(target.row(NUMBER, "one", position=5), target.gone(NUMBER, position=9))
    try:
        key_rotation.encrypt_again(target.connection, BOTH, lambda **_: None)
        with target.scratch.session() as connection:
            prepare(NEW, connection)
            with pytest.raises(ConfigError, match=r"key 'new' .* old_keys"):
                prepare(OLD, connection)
    finally:
        key_rotation.encrypt_again(
            target.connection, Encryptor(OLD.key, "test", {"new": NEW.key}), lambda **_: None
        )
    assert target.write(target.row(NUMBER, "older", position=7)) == 0


def prepare(encryptor: Encryptor, connection: psycopg.Connection) -> None:
    KeyText(unmasked=False, encryptor=encryptor).prepare(connection)


def test_hashing_secret_is_stored_encrypted(target):
    (secret,) = target.connection.execute("SELECT current_setting('sink.key_secret')").fetchone()
    found = target.connection.execute("SELECT sealed FROM sink.key_secret").fetchall()
    assert len(found) == 1
    assert bytes.fromhex(secret) not in found[0][0]


def test_hashes_do_not_depend_on_policies(target):
    """The classification may change, and two runners may learn of it at different times."""
    target.write(target.row(NUMBER, "one", position=5), target.gone(NUMBER, position=9))
    connection = target.scratch.session()
    target.writer = target.another(connection, unmasked={"id", "name"})
    target.connection, target.writer.state.has_tombstones = connection, True
    assert target.write(target.row(NUMBER, "older", position=7)) == 0
