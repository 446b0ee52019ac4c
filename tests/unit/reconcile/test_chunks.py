"""The size of the ranges follows the time that they take."""

from sink_runner.reconcile import chunks
from sink_runner.reconcile.chunks import ChunkSize


def test_size_follows_half_a_second(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr(chunks.time, "monotonic", lambda: now[0])
    size = ChunkSize(1000)
    sizes = []
    for seconds in (0.25, 0.4, 1.0, 9.0, 0.5):
        now[0] += seconds
        size.adapt()
        sizes.append(size.rows)
    assert sizes == [2000, 2500, 1250, 625, 625]


def test_size_has_bounds(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr(chunks.time, "monotonic", lambda: now[0])
    size = ChunkSize(5000)
    for _ in range(20):
        size.adapt()
    assert size.rows == 20_000
    for _ in range(20):
        now[0] += 60
        size.adapt()
    assert size.rows == 100
