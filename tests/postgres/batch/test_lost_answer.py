"""A chunk whose commit is not confirmed is not applied twice."""

from collections.abc import Callable
from typing import Any

import pytest

from sink_runner.errors import FatalError, RetriableError
from sink_runner.writer.committer import Committer

pytestmark = pytest.mark.postgres
PEOPLE = """
INSERT INTO golden_records (gr_id, full_name, created_at, updated_at)
SELECT md5(n::text)::uuid, 'Person ' || n,
  CASE WHEN n % 5 = 0 THEN timestamp '2999-01-01' ELSE timestamp '2026-01-01' END, '2026-01-02'
FROM generate_series(1, 14) n
"""
DEAD_LETTERS = "SELECT count(*) FROM sink.dead_letter WHERE flow = 'golden-records'"
OUTCOMES = "SELECT outcome, finished IS NOT NULL FROM sink.batch_run"
COUNTED = "SELECT sum(rows) FROM sink.quality_count WHERE rule LIKE '%not before%'"


@pytest.fixture
def replace_first_commit(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Return a function that replaces the first transaction that writes rows."""
    real = Committer.transact
    calls: list[int] = []

    def install(replacement: Callable[..., Any]) -> None:
        def transact(self: Committer, work: Any, *, dry: bool = False) -> Any:
            calls.append(1)
            if len(calls) == 1:
                return replacement(lambda: real(self, work, dry=dry))
            return real(self, work, dry=dry)

        monkeypatch.setattr(Committer, "transact", transact)

    return install


def commit_without_answer(commit: Callable[[], Any]) -> None:
    commit()
    raise RetriableError("the connection is gone")


def fail_before_commit(commit: Callable[[], Any]) -> None:
    del commit
    raise RetriableError("the connection is gone")


@pytest.mark.parametrize("first", [commit_without_answer, fail_before_commit])
def test_every_row_counts_once(
    pair: Any, replace_first_commit: Any, first: Callable[..., Any]
) -> None:
    pair.warehouse.execute(PEOPLE)
    replace_first_commit(first)
    report = pair.run("golden-records", full=True)
    assert report.adds_up
    assert (report.counts["read"], report.counts["written"], report.counts["failed"]) == (14, 12, 2)
    assert pair.citizen.execute("SELECT count(*) FROM profile_data").fetchone() == (12,)
    assert pair.citizen.execute(DEAD_LETTERS).fetchone() == (2,)
    assert pair.citizen.execute(COUNTED).fetchone() == (2,)


def test_failed_run_is_marked_at_once(pair: Any, replace_first_commit: Any) -> None:
    """Metrics show a run that ends with an error as interrupted, and the next run resumes it."""
    pair.warehouse.execute(PEOPLE)

    def fail(commit: Callable[[], Any]) -> None:
        del commit
        raise FatalError("the target is gone for good")

    replace_first_commit(fail)
    with pytest.raises(FatalError):
        pair.run("golden-records", full=True)
    assert pair.citizen.execute(OUTCOMES).fetchall() == [("interrupted", True)]
    assert pair.run("golden-records", full=True).counts["written"] == 12
