"""The settings of a database: ``[databases.<name>]``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from ..errors import ConfigError
from .dsn import Dsn
from .reader import Secret, hint, section

T = TypeVar("T")


@section
class Database:
    """How to reach one database; its name is the first part of a mapping's table names."""

    dsn: Dsn
    """Connection string of the role that writes: a URI or key=value pairs, with any parameter of
    libpq. A connection pooler needs pool_mode = session, and only the runner may use both roles:
    the pooler keeps sessions, and a session has the replication origin by which a mapping
    recognizes its own writes."""
    reader_dsn: Dsn
    """Connection string of the role that reads tables for lookups."""
    password: Secret | None = None
    """Password of the role that writes; read again for every connection."""
    reader_password: Secret | None = None
    """Password of the role that reads; read again for every connection."""
    allow_plaintext_credentials: bool = False
    """Permit sslmode disable, allow and prefer with another host, which may send password and rows
    without encryption."""

    def __post_init__(self) -> None:
        for key, password in (("dsn", self.password), ("reader_dsn", self.reader_password)):
            dsn = Dsn(
                Dsn.of(getattr(self, key)).read,
                password=password,
                key=key,
                allows_plaintext=self.allow_plaintext_credentials,
            )
            object.__setattr__(self, key, dsn)


def find_database(databases: Mapping[str, T], name: str, *, named_by: str = "") -> T:
    """Return the entry of a database; raise ConfigError if the database is not configured.

    `named_by`: the setting or the plugin that names the database.
    """
    try:
        return databases[name]
    except KeyError:
        known = ", ".join(sorted(databases))
        raise ConfigError(
            f"{named_by}{': ' if named_by else ''}unknown database {name!r}; configured "
            f"databases: {known}; correct the name or add [databases.{name}]{hint(name, databases)}"
        ) from None
