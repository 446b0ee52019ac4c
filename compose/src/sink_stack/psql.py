"""Opens psql on one of the databases."""

import os
import subprocess
from collections.abc import Mapping, Sequence

import psycopg

from . import apt, engine
from .stack import Stack


def run(stack: Stack, database: str, arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run psql as the database's administrator; its password is not among the arguments."""
    if engine.chosen(stack.layout, environ) == "compose":
        command = ["exec", "postgres", "psql", "--username=postgres", database, *arguments]
        engine.Compose(stack.layout, environ).run(*command)
        return 0
    program = apt.ensure_installed("psql", "postgresql-client", stack.layout.log("install"))
    found = psycopg.conninfo.conninfo_to_dict(stack.settings.admin_dsn(database))
    names = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD"}
    variables = {f"PG{names[key]}": str(found[key]) for key in names}
    return subprocess.run(
        [program, *arguments], env={**os.environ, **variables, "PGDATABASE": database}, check=False
    ).returncode
