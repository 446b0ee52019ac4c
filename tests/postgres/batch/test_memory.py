"""A batch run keeps a bounded number of bytes in memory, whatever the size of its rows."""

from typing import Any

import pytest

from sink_runner.batch.checks import Sample
from sink_runner.batch.run import BatchRun
from sink_runner.model.changes import Write
from sink_runner.model.message import Message
from sink_runner.model.portions import byte_size, portions

MIB = 1024 * 1024
PEOPLE = """
INSERT INTO golden_records (gr_id, full_name, status, created_at, updated_at)
SELECT md5(n::text)::uuid, repeat('x', %s), 'active', date '2020-01-01', date '2020-01-01' + n
FROM generate_series(1, %s) n
"""


@pytest.fixture
def text_pair(pair: Any) -> Any:
    """The pair, with names of any length in both tables."""
    for database, table in ((pair.warehouse, "golden_records"), (pair.citizen, "profile_data")):
        database.execute(f"ALTER TABLE {table} ALTER full_name TYPE text")
    return pair


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """For each written chunk, the sizes of its rows."""
    sizes = list[list[int]]()
    write = BatchRun._write

    def record_sizes(self: Any, writer: Any, batch: Any, messages: Any, connection: Any) -> Any:
        sizes.append([byte_size(message) for message in messages])
        sample = sum(byte_size(one.source) for one in self._sample.writes)
        assert sample <= self._batch.chunk_bytes or len(self._sample.writes) == 1
        return write(self, writer, batch, messages, connection)

    monkeypatch.setattr(BatchRun, "_write", record_sizes)
    return sizes


@pytest.mark.postgres
def test_chunks_of_large_rows_are_split_by_bytes(text_pair: Any, chunks: list[list[int]]) -> None:
    text_pair.warehouse.execute(PEOPLE, (3 * MIB, 12))
    report = text_pair.run("golden-records", batch={"max_rows": 5000, "max_bytes": 7 * MIB})
    assert [len(chunk) for chunk in chunks] == [2] * 6
    assert max(map(sum, chunks)) <= 7 * MIB
    assert report.counts["written"] == 12
    assert report.checks["fields"]["compared"] == 2


@pytest.mark.postgres
def test_row_larger_than_limit_is_own_chunk(text_pair: Any, chunks: list[list[int]]) -> None:
    text_pair.warehouse.execute(PEOPLE, (3 * MIB, 3))
    report = text_pair.run("golden-records", batch={"max_rows": 5000, "max_bytes": MIB})
    assert [len(chunk) for chunk in chunks] == [1, 1, 1]
    assert (report.counts["written"], report.checks["fields"]["different"]) == (3, 0)


def write(number: int, size: int) -> Write:
    message = Message("t", -1, number, b"", bytes(size))
    return Write((number,), (), 0, partial=False, position=None, source=message)


@pytest.mark.parametrize(("size", "kept"), [(1, 100), (1_000, 10), (50_000, 1)])
def test_sample_shrinks_to_its_byte_limit(size: int, kept: int) -> None:
    sample = Sample(max_bytes=10_000)
    for number in range(0, 2_000, 500):
        sample.add([write(number + n, size) for n in range(500)])
    assert len(sample.writes) == kept
    assert len({one.key for one in sample.writes}) == kept


def test_portions_are_bounded_by_bytes_and_items() -> None:
    items = ["a", "b", "ccc", "dddddd", "e", "f", "g", "h"]
    assert list(portions(items, len, 4, 3)) == [
        ["a", "b"],
        ["ccc"],
        ["dddddd"],
        ["e", "f", "g"],
        ["h"],
    ]
