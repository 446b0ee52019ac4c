"""Faults of the target: its disk is full, a table is locked, or statements are slow."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sink_stack import postgres

from ..stack.deployment import wait_until
from .harness import TIMEOUT_SECONDS, Harness

_EFFECT_SECONDS = 60
_TABLE = "public.profile_data"
_DISK_FULL, _LOCK_TIMEOUT, _QUERY_CANCELED = (
    f"SQLSTATE {state}" for state in ("53100", "55P03", "57014")
)
_WAITS_FOR_LOCK = f"""SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE NOT granted AND relation = '{_TABLE}'::regclass
    AND application_name LIKE 'sink-runner%')"""
_FILE_SYSTEM_BYTES = 16 * 1024 * 1024


def fill_disk(harness: Harness) -> None:
    """Move the table to a small file system and fill that file system."""
    citizen, folder = harness.deployment.citizen, _find_mount_point(harness)
    with _mount_small_file_system(folder) as tablespace:
        citizen.execute(f"CREATE TABLESPACE small LOCATION '{tablespace}'".encode())
        try:
            citizen.execute(f"ALTER TABLE {_TABLE} SET TABLESPACE small".encode())
            citizen.execute(f"VACUUM (FULL) {_TABLE}".encode())  # Leave no free space in its pages.
            read_log = harness.capture_log()
            filler = _write_until_full(folder / "filler")
            assert wait_until(lambda: _DISK_FULL in read_log(), _EFFECT_SECONDS), (
                "no disk-full error"
            )
            harness.pause(1, 4)
            filler.unlink()
        finally:
            citizen.execute(f"ALTER TABLE {_TABLE} SET TABLESPACE pg_default".encode())
            citizen.execute("DROP TABLESPACE small")


def hold_lock(harness: Harness) -> None:
    """Lock the table for longer than the runner's lock timeout."""
    read_log = harness.capture_log()
    with harness.stack.admin("smart_citizen") as connection, connection.transaction():
        connection.execute(f"LOCK TABLE {_TABLE} IN ACCESS EXCLUSIVE MODE".encode())
        harness.update_golden_records()
        release_time = time.monotonic() + harness.lock_seconds
        assert wait_until(lambda: _waits_for_lock(harness), harness.lock_seconds), (
            "no session of the runner waits for the lock"
        )
        time.sleep(max(0.0, release_time - time.monotonic()))
    assert wait_until(lambda: _LOCK_TIMEOUT in read_log(), _EFFECT_SECONDS), "no lock timeout"


def _waits_for_lock(harness: Harness) -> bool:
    return harness.deployment.citizen.execute(_WAITS_FOR_LOCK.encode()).fetchone() == (True,)


def slow_down_statements(harness: Harness) -> None:
    """Make every statement that writes the table exceed the runner's statement timeout."""
    seconds, citizen = (
        TIMEOUT_SECONDS * harness.random.uniform(1.2, 1.8),
        harness.deployment.citizen,
    )
    # After a long lock, a runner has raised its statement timeout; a new one has not.
    harness.kill_runner()
    harness.ensure_runner()
    read_log = harness.capture_log()
    citizen.execute(
        f"""CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END $$;
            CREATE TRIGGER slow BEFORE INSERT OR UPDATE OR DELETE ON {_TABLE}
            FOR EACH STATEMENT EXECUTE FUNCTION public.slow()""".encode()
    )
    try:
        harness.update_golden_records()
        assert wait_until(lambda: _QUERY_CANCELED in read_log(), _EFFECT_SECONDS), (
            "no statement timeout"
        )
        harness.pause(1, 4)
    finally:
        citizen.execute("DROP FUNCTION public.slow() CASCADE")


def _find_mount_point(harness: Harness) -> Path:
    layout, settings = harness.stack.stack.layout, harness.stack.settings
    return postgres.data_folder(layout, settings, postgres.user()).parent / "small-disk"


@contextmanager
def _mount_small_file_system(folder: Path) -> Iterator[Path]:
    """Mount a tmpfs, which only root may do, and yield a folder in it for a tablespace."""
    folder.mkdir(exist_ok=True)
    size = f"size={_FILE_SYSTEM_BYTES},mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=True)
    try:
        tablespace = folder / "tablespace"
        tablespace.mkdir()
        if user := postgres.user():
            subprocess.run(["chown", user, tablespace], check=True)
        yield tablespace
    finally:
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()


def _write_until_full(path: Path) -> Path:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            os.fsync(file.fileno())
    return path
