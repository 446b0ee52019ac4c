"""The subject of a database's checks: its settings, and a session of each of the runner's roles."""

from __future__ import annotations

from ..config.database import Database, find_database
from ..postgres.session import Connection
from .check_group import Sessions
from .deployment import Deployment

_VERSION = "SHOW server_version"


class DatabaseSubject:
    """A database, with a session of each of the runner's roles."""

    def __init__(self, name: str, deployment: Deployment) -> None:
        self.name, self.deployment = name, deployment
        self.sessions: Sessions = deployment.sessions()

    @property
    def settings(self) -> Database:
        return find_database(self.deployment.config.databases, self.name)

    @property
    def writing(self) -> Connection:
        """A session of the role that writes."""
        return self.sessions.open(self.settings.dsn)

    @property
    def reading(self) -> Connection:
        """A session of the role that reads."""
        return self.sessions.open(self.settings.reader_dsn)

    @property
    def is_target(self) -> bool:
        mappings = self.deployment.mappings.values()
        return any(one.target_table.database == self.name for one in mappings)

    @property
    def is_source(self) -> bool:
        """Whether Debezium captures the database for a mapping."""
        mappings = self.deployment.streaming.values()
        return any(one.source_table.database == self.name for one in mappings)

    @property
    def version(self) -> str:
        ((version,),) = self.writing.execute(_VERSION).fetchall()
        return f"PostgreSQL {version}"
