"""A target that is full, locked or slow."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sink_stack import postgres

from ..stack.arena import until
from .ground import TIMEOUT_SECONDS, Ground

_NOTICED_SECONDS = 60
_TABLE = "public.profile_data"
_FULL, _LOCKED, _TIMED_OUT = (f"SQLSTATE {state}" for state in ("53100", "55P03", "57014"))
_WAITING = f"""SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE NOT granted AND relation = '{_TABLE}'::regclass
    AND application_name LIKE 'sink-runner%')"""
_SIZE = 16 * 1024 * 1024


def fill_disk(ground: Ground) -> None:
    """The table lies on a file system of its own, which has no byte left."""
    citizen, folder = ground.arena.citizen, _cramped_folder(ground)
    with _file_system(folder) as place:
        citizen.execute(f"CREATE TABLESPACE cramped LOCATION '{place}'".encode())
        try:
            citizen.execute(f"ALTER TABLE {_TABLE} SET TABLESPACE cramped".encode())
            citizen.execute(f"VACUUM (FULL) {_TABLE}".encode())  # no page has room any more
            said = ground.listen()
            rest = _fill(folder / "rest")
            assert until(lambda: _FULL in said(), _NOTICED_SECONDS), "never full"
            ground.pause(1, 4)
            rest.unlink()
        finally:
            citizen.execute(f"ALTER TABLE {_TABLE} SET TABLESPACE pg_default".encode())
            citizen.execute("DROP TABLESPACE cramped")


def hold_lock(ground: Ground) -> None:
    """Longer than a lock is waited for; in the long form for a minute."""
    said = ground.listen()
    with ground.stack.admin("smart_citizen") as connection, connection.transaction():
        connection.execute(f"LOCK TABLE {_TABLE} IN ACCESS EXCLUSIVE MODE".encode())
        ground.touch()
        released = time.monotonic() + ground.lock_seconds
        assert until(lambda: _waits(ground), ground.lock_seconds), "the runner waits for no lock"
        time.sleep(max(0.0, released - time.monotonic()))
    assert until(lambda: _LOCKED in said(), _NOTICED_SECONDS), "the runner waited without end"


def _waits(ground: Ground) -> bool:
    """Whether a session of the runner's waits for the table."""
    return ground.arena.citizen.execute(_WAITING.encode()).fetchone() == (True,)


def answer_slowly(ground: Ground) -> None:
    """Every statement that writes the table takes longer than it may."""
    seconds, citizen = TIMEOUT_SECONDS * ground.random.uniform(1.2, 1.8), ground.arena.citizen
    ground.kill_runner()  # one that has waited for a long lock gives every statement more time
    ground.runner()
    said = ground.listen()
    citizen.execute(
        f"""CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END $$;
            CREATE TRIGGER slow BEFORE INSERT OR UPDATE OR DELETE ON {_TABLE}
            FOR EACH STATEMENT EXECUTE FUNCTION public.slow()""".encode()
    )
    try:
        ground.touch()
        assert until(lambda: _TIMED_OUT in said(), _NOTICED_SECONDS), "never too slow"
        ground.pause(1, 4)
    finally:
        citizen.execute("DROP FUNCTION public.slow() CASCADE")


def _cramped_folder(ground: Ground) -> Path:
    layout, settings = ground.stack.stack.layout, ground.stack.settings
    return postgres.data_folder(layout, settings, postgres.user()).parent / "cramped"


@contextmanager
def _file_system(folder: Path) -> Iterator[Path]:
    """A small one in memory; only root may mount it."""
    folder.mkdir(exist_ok=True)
    size = f"size={_SIZE},mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=True)
    try:
        place = folder / "tablespace"
        place.mkdir()
        if user := postgres.user():
            subprocess.run(["chown", user, place], check=True)
        yield place
    finally:
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()


def _fill(path: Path) -> Path:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            os.fsync(file.fileno())
    return path
