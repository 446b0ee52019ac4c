"""Committers that write to a table of their own."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sink_runner.model.batch import Batch
from sink_runner.model.message import Message
from sink_runner.model.partition import Advance, Topic
from sink_runner.testing import NOW
from sink_runner.writer.committer import Committer
from sink_runner.writer.dead_letters import DeadLetters
from sink_runner.writer.encryption import Encryptor
from sink_runner.writer.offsets import Offsets
from sink_runner.writer.target_session import TargetSession

SECRET = "Zarathustra-17"
DDL = "id int PRIMARY KEY, v varchar(5) NOT NULL CHECK (v <> 'bad')"


class CommitterHarness:
    """A target table, a committer that writes to it, and the partition of its events."""

    def __init__(
        self,
        written: Callable[..., Any],
        ddl: str = DDL,
        *,
        name: str | None = "harness",
        **declared: Any,
    ) -> None:
        self.target = written(ddl, **declared)
        self.name = name or self.target.name
        self.now = NOW
        self.topic = self.target.scratch.schema
        self.encryptor = Encryptor(b"k" * 32, "k")
        self.committers: list[Committer] = []
        self.committer = self.new_committer()
        self.next_offset: int | None = None
        self.epoch = self.committer.claim([0])[0].epoch

    def new_committer(
        self, *, timeout: float = 60.0, table: Any = None, **options: Any
    ) -> Committer:
        with self.target.scratch.session() as session:
            writer = self.target.another(session)
        committer = Committer(
            self.name,
            session=TargetSession(
                self.name, self.target.scratch.dsn, writer, timeout=timeout, table=table
            ),
            offsets=Offsets(self.name, Topic("c", self.topic, "t"), "me"),
            dead_letters=DeadLetters(self.name, "1", self.encryptor),
            clock=lambda: self.now,
            **options,
        )
        self.committers.append(committer)
        return committer

    def change(self, number: int, value: Any, key: bytes = b"") -> Any:
        message = Message(self.topic, 0, number, key or b"%d" % number, str(value).encode())
        return self.target.row(number, value)._replace(source=message)

    def batch(self, *values: Any) -> Batch:
        return Batch(changes=[self.change(i, value) for i, value in enumerate(values)])

    def step(self, to: int) -> list[Advance]:
        return [Advance(0, self.epoch, self.next_offset, to)]

    def apply(self, batch: Batch, *, again: bool = False) -> int:
        return self.committer.apply(batch, self.step(100), again=again)

    def ids(self) -> list[int]:
        return [row[0] for row in self.target.rows("id")]

    def sql(self, query: str) -> list[tuple]:
        return self.target.scratch.admin.execute(query.encode()).fetchall()

    def dead_letters(self) -> list[int]:
        found = self.sql(
            f"SELECT \"offset\" FROM sink.dead_letter WHERE topic = '{self.topic}' ORDER BY 1"
        )
        return [row[0] for row in found]

    def stored_offset(self) -> int | None:
        query = f"SELECT next_offset FROM sink.partition_offset WHERE topic = '{self.topic}'"
        return self.sql(query)[0][0]

    def close(self) -> None:
        for committer in self.committers:
            committer.session.close()

    def is_unchanged(self) -> bool:
        return (self.ids(), self.dead_letters(), self.stored_offset()) == ([], [], None)


@pytest.fixture
def harness(written: Callable[..., Any]) -> Iterator[CommitterHarness]:
    created = CommitterHarness(written)
    yield created
    created.close()
