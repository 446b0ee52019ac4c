"""The answer to a chunk's commit is lost: the chunk is not done twice."""

from collections.abc import Callable
from typing import Any

import pytest

from sink_runner.errors import RetriableError
from sink_runner.writer.committer import Committer

pytestmark = pytest.mark.postgres
PEOPLE = """
INSERT INTO golden_records (gr_id, full_name, created_at, updated_at)
SELECT md5(n::text)::uuid, 'Person ' || n,
  CASE WHEN n % 5 = 0 THEN timestamp '2999-01-01' ELSE timestamp '2026-01-01' END, '2026-01-02'
FROM generate_series(1, 14) n
"""
LETTERS = "SELECT count(*) FROM sink.dead_letter WHERE flow = 'golden-records'"
BROKEN = "SELECT sum(rows) FROM sink.quality_count WHERE rule LIKE '%not before%'"


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Let the first transaction that writes rows come to this instead."""
    real = Committer.transact
    asked: list[int] = []

    def install(instead: Callable[..., Any]) -> None:
        def transact(self: Committer, work: Any, *, dry: bool = False) -> Any:
            asked.append(1)
            if len(asked) == 1:
                return instead(lambda: real(self, work, dry=dry))
            return real(self, work, dry=dry)

        monkeypatch.setattr(Committer, "transact", transact)

    return install


def lost(commit: Callable[[], Any]) -> None:
    commit()
    raise RetriableError("the connection is gone")


def refused(commit: Callable[[], Any]) -> None:
    del commit
    raise RetriableError("the connection is gone")


@pytest.mark.parametrize("first", [lost, refused])
def test_every_row_counts_once(pair: Any, once: Any, first: Callable[..., Any]) -> None:
    pair.warehouse.execute(PEOPLE)
    once(first)
    report = pair.run("golden-records", full=True)
    assert report.adds_up
    assert (report.counts["read"], report.counts["written"], report.counts["failed"]) == (14, 12, 2)
    assert pair.citizen.execute("SELECT count(*) FROM profile_data").fetchone() == (12,)
    assert pair.citizen.execute(LETTERS).fetchone() == (2,)
    assert pair.citizen.execute(BROKEN).fetchone() == (2,)
