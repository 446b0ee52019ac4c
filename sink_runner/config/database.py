"""Settings of a database: ``[databases.<name>]``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from ..errors import ConfigError
from .dsn import Dsn
from .values import Secret, doc, hint

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """How to reach one database; its name is the first part of a mapping's table names."""

    dsn: Dsn = field(
        repr=False,
        metadata=doc(
            "Connection string of the role that writes: a URI or key=value pairs, with any "
            "parameter of libpq. A pooler on the way needs pool_mode = session, and both roles for "
            "the runner alone: it keeps their sessions, which carry the mark by which a mapping "
            "knows its own writes."
        ),
    )
    reader_dsn: Dsn = field(
        repr=False, metadata=doc("Connection string of the role that reads tables for lookups.")
    )
    password: Secret | None = field(
        default=None,
        repr=False,
        metadata=doc("Password of the role that writes; read again for every connection."),
    )
    reader_password: Secret | None = field(
        default=None,
        repr=False,
        metadata=doc("Password of the role that reads; read again for every connection."),
    )
    allow_plaintext_credentials: bool = field(
        default=False,
        metadata=doc(
            "Permit sslmode disable, allow and prefer with another host, which may send password "
            "and rows without encryption."
        ),
    )

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
    """Return what is configured for a database; raise ConfigError where nothing is.

    `named_by`: the setting, or the plugin's, that holds the name.
    """
    try:
        return databases[name]
    except KeyError:
        known = ", ".join(sorted(databases))
        raise ConfigError(
            f"{named_by}{': ' if named_by else ''}unknown database {name!r}; configured "
            f"databases: {known}; correct the name or add [databases.{name}]{hint(name, databases)}"
        ) from None
