"""Fills the databases and creates the topics from inside Docker Compose, once the parts answer."""

from collections.abc import Mapping

import psycopg

from . import postgres, topics
from .layout import Layout
from .settings import DATABASES

_EXISTS = "SELECT 1 FROM pg_database WHERE datname = %s"


def run(layout: Layout, environ: Mapping[str, str]) -> None:
    """Run each step that was not run before."""
    cluster = postgres.Access(
        address=environ["STACK_POSTGRES_ADDRESS"],
        passwords={role: environ[f"STACK_PASSWORD_{role.upper()}"] for role in postgres.PASSWORDS},
    )
    with psycopg.connect(cluster.dsn("postgres")) as connection:
        last = list(DATABASES.values())[-1]
        filled = connection.execute(_EXISTS, [last]).fetchone() is not None
    if not filled:
        postgres.create_databases(cluster, layout.sql)
    postgres.migrate_databases(cluster.dsn)
    topics.create(environ["SINK_KAFKA"], topics.declared(layout.topics))
