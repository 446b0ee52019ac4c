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
_FULL = "53100"
_SIZE = 16 * 1024 * 1024


def fill_disk(ground: Ground) -> None:
    """The table lies on a file system of its own, which has no byte left."""
    citizen, folder = ground.arena.citizen, _cramped_folder(ground)
    with _file_system(folder) as place:
        citizen.execute(f"CREATE TABLESPACE cramped LOCATION '{place}'".encode())
        try:
            citizen.execute(f"ALTER TABLE {_TABLE} SET TABLESPACE cramped".encode())
            citizen.execute(f"VACUUM (FULL) {_TABLE}".encode())  # no page has room any more
            said = ground.arena.log.stat().st_size
            rest = _fill(folder / "rest")
            assert until(lambda: _FULL in _said(ground, said), _NOTICED_SECONDS), "never full"
            ground.pause(1, 4)
            rest.unlink()
        finally:
            citizen.execute(f"ALTER TABLE {_TABLE} SET TABLESPACE pg_default".encode())
            citizen.execute("DROP TABLESPACE cramped")


def hold_lock(ground: Ground) -> None:
    """Longer than a lock is waited for; in the long form for a minute."""
    with ground.stack.admin("smart_citizen") as connection, connection.transaction():
        connection.execute(f"LOCK TABLE {_TABLE} IN ACCESS EXCLUSIVE MODE".encode())
        time.sleep(ground.lock_seconds)


def answer_slowly(ground: Ground) -> None:
    """Every statement that writes the table takes longer than it may, or nearly so."""
    seconds, citizen = TIMEOUT_SECONDS * ground.random.uniform(0.6, 1.6), ground.arena.citizen
    citizen.execute(
        f"""CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END $$;
            CREATE TRIGGER slow BEFORE INSERT OR UPDATE OR DELETE ON {_TABLE}
            FOR EACH STATEMENT EXECUTE FUNCTION public.slow()""".encode()
    )
    ground.pause(6, 9)
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


def _said(ground: Ground, since: int) -> str:
    with ground.arena.log.open("rb") as log:
        log.seek(since)
        return log.read().decode(errors="replace")
