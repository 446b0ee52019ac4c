"""The folder's policies follow Ranger Admin's, where there is one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import ConfigError, PolicyError
from .admin import Admin, connect
from .exchange import Content, local_policies, put, tried
from .policy_file import POLICIES
from .policy_json import value_of

if TYPE_CHECKING:
    from ..config import Policies as Settings


class Renewal:
    """Called now and then; asks for what is newer than the last that it was given.

    What it was given holds until Ranger says otherwise: where the folder has become another since,
    as by a deploy that brings an old copy, it is put there again.
    """

    def __init__(self, directory: Path, admin: Admin, key: str = "") -> None:
        self._directory = directory
        self._admin = admin
        self._key = key
        self._known = -1  # the first answer tells whether the folder is what Ranger has
        self._given: Content | None = None

    def __call__(self) -> None:
        """Raise PolicyError or RetriableError where the folder stays as it is."""
        newer = self._admin.download(self._known)
        found = self._given if newer is None else newer
        if found is None:
            return
        if found != self._here():
            tried(self._directory, found, self._key)
            put(self._directory, found)
        self._given, self._known = found, value_of(found, "policyVersion", int, "Ranger Admin")

    def _here(self) -> Content | None:
        """The folder's policies; a file that nobody can read is put right like any other."""
        try:
            return local_policies(self._directory)
        except PolicyError:
            return None


def renewal(settings: Settings) -> Callable[[], None] | None:
    """None without an Admin; ConfigError where its client is not installed."""
    if not settings.admin:
        return None
    return Renewal(settings.directory, admin_of(settings), settings.key)


def admin_of(settings: Settings) -> Admin:
    """The Admin of the folder's service; ConfigError where either is not said."""
    service = value_of(local_policies(settings.directory), "serviceName", str, POLICIES)
    return connect(_url(settings.admin), settings.user, settings.password, service)


def _url(text: str) -> str:
    """Of one that is none, the client's library raises what nobody expects."""
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname)
        sound = sound and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if text and not sound:
        raise ConfigError("policies.admin is no URL such as http://ranger:6080")
    return text
