"""The origin guard knows mappings that another runner runs."""

import psycopg
import pytest

from sink_runner.errors import RetriableError
from sink_runner.model.partition import Topic
from sink_runner.postgres.migrations import migrate
from sink_runner.writer.echo_guard import EchoGuard
from sink_runner.writer.offsets import Offsets

pytestmark = pytest.mark.postgres
OURS = "smart_warehouse.public.ours"


@pytest.fixture
def dsn(postgres) -> str:
    """The source database, which two other mappings write."""
    found = postgres.dsn(postgres.fresh_database("smart_citizen"), "sink_writer")
    with psycopg.connect(found, autocommit=True) as connection:
        migrate(connection)
        for name, topic in (("back", OURS), ("else", "smart_warehouse.public.other")):
            Offsets(name, Topic("c", topic, "t"), "another runner").claim(connection, [0])
    return str(found)


@pytest.mark.parametrize(
    ("origin", "echo"),
    [
        ("sink/back/0", True),
        ("sink/back/15", True),
        ("sink/else/0", False),
        ("sink/nobody/0", False),
        ("logical/back/0", False),
        ("back", False),
    ],
)
def test_echo_of_target_is_dropped(dsn: str, origin: str, *, echo: bool) -> None:
    assert EchoGuard(dsn, OURS)(origin) == echo


def test_database_that_no_runner_has_written_has_none(postgres) -> None:
    found = postgres.dsn(postgres.fresh_database("smart_citizen"), "sink_writer")
    assert not EchoGuard(found, OURS)("sink/back/0")


def test_each_is_asked_about_once(dsn: str) -> None:
    feeders = EchoGuard(dsn, OURS)
    assert feeders("sink/back/0")
    feeders._dsn = "host=127.0.0.1 port=1"
    assert feeders("sink/back/1")


def test_a_database_that_is_away_is_waited_for() -> None:
    with pytest.raises(RetriableError):
        EchoGuard("host=127.0.0.1 port=1 connect_timeout=1", OURS)("sink/back/0")
