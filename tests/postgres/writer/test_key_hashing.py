"""Personal keys in the runner's own tables: hidden, and yet they tell one row from another."""

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
KEPT = "SELECT key FROM sink.row_version WHERE mapping = %s"
OLD, NEW = Encryptor(bytes(32), "test"), Encryptor(bytes([1]) * 32, "new")
BOTH = Encryptor(NEW.key, "new", {"test": OLD.key})


@pytest.fixture
def made(written: Any) -> Any:
    """A mapping whose key no policy lets be shown."""
    return written(DDL, *COLUMNS)


def kept(made: Any) -> list[str]:
    return [key for (key,) in made.connection.execute(KEPT, (made.name,))]


def test_a_deleted_person_s_number_is_not_kept(made):
    made.write(made.row(NUMBER, "one", position=5), made.gone(NUMBER, position=9))
    (key,) = kept(made)
    assert NUMBER not in key
    guesses = [f'["{NUMBER}"]', NUMBER]
    assert key not in {hashlib.sha256(guess.encode()).hexdigest() for guess in guesses}
    assert made.write(made.row(NUMBER, "older", position=7)) == 0
    assert made.write(made.row(NUMBER, "newer", position=10)) == 1


def test_another_session_hides_it_alike(made):
    made.write(made.row(NUMBER, "one", position=5), made.gone(NUMBER, position=9))
    connection = made.scratch.session()
    made.writer, made.connection = made.another(connection), connection
    assert made.write(made.row(NUMBER, "older", position=7)) == 0
    assert len(kept(made)) == 1


def test_the_secret_outlives_the_key_that_encrypts_it(made):
    made.write(made.row(NUMBER, "one", position=5), made.gone(NUMBER, position=9))
    try:
        key_rotation.encrypt_again(made.connection, BOTH, lambda **_: None)
        with made.scratch.session() as connection:
            prepared(NEW, connection)
            with pytest.raises(ConfigError, match=r"key 'new' .* old_keys"):
                prepared(OLD, connection)
    finally:
        key_rotation.encrypt_again(
            made.connection, Encryptor(OLD.key, "test", {"new": NEW.key}), lambda **_: None
        )
    assert made.write(made.row(NUMBER, "older", position=7)) == 0


def prepared(encryptor: Encryptor, connection: psycopg.Connection) -> None:
    KeyText(unmasked=False, encryptor=encryptor).prepare(connection)


def test_secret_is_not_in_database_in_clear(made):
    (secret,) = made.connection.execute("SELECT current_setting('sink.key_secret')").fetchone()
    found = made.connection.execute("SELECT sealed FROM sink.key_secret").fetchall()
    assert len(found) == 1
    assert bytes.fromhex(secret) not in found[0][0]


def test_policies_of_key_keep_remembered_rows(made):
    """It may be classified today and not tomorrow, and two runners may not know it at once."""
    made.write(made.row(NUMBER, "one", position=5), made.gone(NUMBER, position=9))
    connection = made.scratch.session()
    made.writer = made.another(connection, unmasked={"id", "name"})
    made.connection, made.writer.state.has_tombstones = connection, True
    assert made.write(made.row(NUMBER, "older", position=7)) == 0
