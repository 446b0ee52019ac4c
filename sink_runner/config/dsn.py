"""Connection strings: their secrets, their encryption, and why a server refuses a login."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from itertools import zip_longest
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ..errors import AccessError, ConfigError
from .reader import Secret

Connection = psycopg.Connection[Any]

_CONNECT_SECONDS = 10
_RESOLVED = (
    *("host", "hostaddr", "port", "dbname", "user"),
    *("target_session_attrs", "load_balance_hosts"),
)
_UNENCRYPTED_MODES = {"disable", "allow", "prefer"}
_SCHEMES = ("postgresql://", "postgres://")
_URI = re.compile(r"\w+://([^@/]*@)?[^@/?]*(/[^@?]*)?(\?.*)?", re.DOTALL)
"""Does not match a password with an unencoded @ or /: libpq would take part of it for the host or
the database, and messages name those."""
_PROBE = "ssl_min_protocol_version"
_CERTIFICATE = "check sslcert, sslkey and sslpassword in {key}"
_REFUSALS = {
    "valid client certificate|certificate authentication failed| alert ": (
        f"{_CERTIFICATE}: the server must trust the certificate, and its common name be the role's "
        "or be mapped to it by pg_ident.conf"
    ),
    "certificate verify failed|does not match host name|root certificate file": (
        "check sslrootcert in {key}, and that the certificate is for the host named there"
    ),
    "private key file|certificate file": _CERTIFICATE,
    "no password supplied|authentication failed": (
        "check the password in [databases] or in passfile, which must have mode 0600; ALTER ROLE "
        "… PASSWORD sets the role's"
    ),
    r"pg_hba\.conf|SSL required": (
        "let the role in by pg_hba.conf and, where it says so, by TLS: sslmode=verify-full "
        "and sslrootcert in {key}"
    ),
    "does not support SSL": "set ssl = on in the server, or correct host and port in {key}",
    "requirement|channel binding required": "check require_auth and channel_binding in {key}",
    "not permitted to log in|role .* does not exist|permission denied for database": (
        "check the role in {key}; it needs LOGIN, and CONNECT on the database"
    ),
}
"""Patterns of the English messages of refused logins, and what to do.

psycopg gives no SQLSTATE for them. A message in another language counts as an outage: the mapping
pauses, and its reason has the server's message.
"""


class ConnectionNote(str):
    """Database, host and role of a failed connection; no other note of an exception is logged."""

    __slots__ = ()


class Dsn(Secret):
    """A connection string; it and the password are read again for every connection."""

    __slots__ = ("_allows_plaintext", "_key", "_password")

    def __init__(
        self,
        read: Callable[[], str],
        *,
        password: Secret | None = None,
        key: str = "dsn",
        allows_plaintext: bool = False,
    ) -> None:
        """`password` replaces the one of the string; `key` is the setting that messages name."""
        super().__init__(read)
        self._password = password
        self._key = key
        self._allows_plaintext = allows_plaintext

    @classmethod
    def of(cls, dsn: Dsn | str) -> Dsn:
        """Return a constant connection string as a `Dsn`."""
        return cls(lambda: dsn) if isinstance(dsn, str) else dsn

    def conninfo(self) -> str:
        """Return the connection string for libpq, with the password and the hosts of a service.

        The string names the hosts, so that each has its own connection timeout. Raises ConfigError
        if libpq cannot use the string, or if a password or rows might be sent to another host
        without encryption.
        """
        text = self.read()
        if text.startswith(_SCHEMES) and not _URI.fullmatch(text):
            raise self._unreadable_error()
        login = {"password": self._password.read()} if self._password else {}
        try:
            # Without sslpassword, OpenSSL would prompt for the password of an encrypted key.
            given = make_conninfo("", **{"sslpassword": " ", **conninfo_to_dict(text, **login)})
        except psycopg.ProgrammingError:  # its text quotes the connection string
            raise self._unreadable_error() from None
        found = _resolve(given, self._key)
        if not re.fullmatch(r"\d*(,\d*)*", found.get("port", "")):
            raise self._unreadable_error()
        if not self._allows_plaintext:
            _check_encryption(found, self._key)
        return make_conninfo(given, **{name: found[name] for name in _RESOLVED if name in found})

    def _unreadable_error(self) -> ConfigError:
        return ConfigError(
            f"{self._key} of [databases] cannot be read: expected postgresql://… or key=value "
            "pairs that libpq knows; in a URI, @ and / in a password are percent-encoded: %40, %2F"
        )

    def open(self, application: str) -> Connection:
        """Open a connection.

        Raises ConfigError as `conninfo` does, and AccessError if server or client refuses the
        other. The note of any other error names database, host and role, but no secret.
        """
        conninfo = self.conninfo()
        try:
            return psycopg.connect(
                conninfo,
                autocommit=True,
                application_name=application,
                connect_timeout=_CONNECT_SECONDS,
            )
        except psycopg.OperationalError as fault:
            if refused := self.refusal(fault, conninfo):
                raise refused from None
            fault.add_note(ConnectionNote(_login(conninfo_to_dict(conninfo))))
            raise

    def refusal(self, fault: psycopg.OperationalError, conninfo: str) -> AccessError | None:
        """Return the refusal that a failed connection reports; None for an outage."""
        for pattern, advice in _REFUSALS.items():
            if found := re.search(f"^.*(?:{pattern}).*", str(fault), re.MULTILINE):
                where = _login(conninfo_to_dict(conninfo))
                reason = re.sub(r"^.*connection to server .*? failed: +(?:FATAL: +)?", "", found[0])
                return AccessError(
                    f"no login to {where} ({reason}): {advice.format(key=self._key)}"
                )
        return None


def _resolve(conninfo: str, key: str) -> Mapping[str, str]:
    """Return libpq's options from the string, the service, the environment and the defaults.

    It gives libpq an invalid value that libpq checks after it has resolved all options and before
    it connects.
    """
    probe = pq.PGconn.connect_start(make_conninfo(conninfo, **{_PROBE: "none"}).encode())
    try:
        reason = probe.error_message.decode(errors="replace").strip()
        if _PROBE not in reason:
            raise ConfigError(
                f"{key} of [databases] cannot be used: " + re.sub(' ?value: ".*"', "", reason)
            )
        return {option.keyword.decode(): option.val.decode() for option in probe.info if option.val}
    finally:
        probe.finish()


def _check_encryption(found: Mapping[str, str], key: str) -> None:
    if found["sslmode"] not in _UNENCRYPTED_MODES or found.get("gssencmode") == "require":
        return
    lists = (found.get(name, "").split(",") for name in ("hostaddr", "host"))
    if all(_is_local(address or host) for address, host in zip_longest(*lists, fillvalue="")):
        return
    raise ConfigError(
        f"no login to {_login(found)}: sslmode={found['sslmode']} may send the password and rows "
        f"without encryption: set sslmode=verify-full and sslrootcert in {key}, or "
        "allow_plaintext_credentials = true for this database"
    )


def _is_local(host: str) -> bool:
    if not host or host[0] in "/@" or host == "localhost":  # a Unix-domain socket, or loopback
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _login(found: Mapping[str, Any]) -> str:
    host = found.get("host") or found.get("hostaddr") or "localhost"
    return f"database {found.get('dbname')} at {host}:{found.get('port')} as {found.get('user')}"
