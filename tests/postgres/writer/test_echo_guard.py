"""The echo guard recognizes writes of mappings that another runner runs."""

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
    """The DSN of a source database that two other mappings write to."""
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
        ("sink/unknown/0", False),
        ("logical/back/0", False),
        ("back", False),
    ],
)
def test_origin_of_target_mapping_is_echo(dsn: str, origin: str, *, echo: bool) -> None:
    assert EchoGuard(dsn, OURS)(origin) == echo


def test_database_without_offsets_has_no_echo(postgres) -> None:
    found = postgres.dsn(postgres.fresh_database("smart_citizen"), "sink_writer")
    assert not EchoGuard(found, OURS)("sink/back/0")


def test_origin_is_queried_once(dsn: str) -> None:
    guard = EchoGuard(dsn, OURS)
    assert guard("sink/back/0")
    guard._dsn = "host=127.0.0.1 port=1"
    assert guard("sink/back/1")


def test_unreachable_database_is_retriable_error() -> None:
    with pytest.raises(RetriableError):
        EchoGuard("host=127.0.0.1 port=1 connect_timeout=1", OURS)("sink/back/0")
