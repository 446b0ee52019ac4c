"""Work that is repeated in a thread while a block runs."""

import threading

from sink_runner.runtime.periodic import repeating


def test_work_is_repeated_and_closed_by_its_thread() -> None:
    done, threads = threading.Semaphore(0), set[int]()

    def note() -> None:
        threads.add(threading.get_ident())

    def work() -> None:
        note()
        done.release()

    with repeating("test", work, 0.0, note):
        assert done.acquire(timeout=60)
        assert done.acquire(timeout=60)
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_block_ends_although_work_hangs() -> None:
    started, release, closed = threading.Event(), threading.Event(), list[int]()

    def hang() -> None:
        started.set()
        release.wait(60)

    with repeating("test", hang, 0.0, lambda: closed.append(1)):
        assert started.wait(60)
    assert closed == []
    release.set()
