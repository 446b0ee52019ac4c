"""The folder where test servers of PostgreSQL store their data."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from sink_stack import testing_postgres

GIGABYTE = 1 << 30


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace /dev/shm by a folder, on a machine with 12 GB of free memory."""
    monkeypatch.setattr(testing_postgres, "_MEMORY", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=12 * GIGABYTE))
    monkeypatch.setattr(testing_postgres, "_available_memory", lambda: 12 * GIGABYTE)
    return tmp_path


@pytest.mark.parametrize(("processes", "fits"), [("1", True), ("4", True), ("5", False)])
def test_data_is_in_memory_if_each_process_fits(
    memory: Path, monkeypatch: pytest.MonkeyPatch, processes: str, *, fits: bool
) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", processes)
    assert testing_postgres._folder() == (memory if fits else None)


def test_data_is_on_disk_if_memory_is_short(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of a file system in memory does not say how much memory is free."""
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "4")
    monkeypatch.setattr(testing_postgres, "_available_memory", lambda: 11 * GIGABYTE)
    assert testing_postgres._folder() is None


def test_data_of_killed_runs_is_removed(memory: Path) -> None:
    (abandoned := memory / "sink-postgres-abandoned").mkdir()
    (running := memory / "sink-postgres-running").mkdir()
    (other := memory / "other").mkdir()
    for folder in (abandoned, other):
        os.utime(folder, (0, 0))
    testing_postgres._folder()
    assert [folder.exists() for folder in (abandoned, running, other)] == [False, True, True]
