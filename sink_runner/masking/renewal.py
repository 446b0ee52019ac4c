"""The folder's policies follow Ranger Admin's, where there is one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .admin import Admin, connect
from .exchange import local_policies, put, tried

if TYPE_CHECKING:
    from ..config import Policies as Settings


class Renewal:
    """Called now and then; asks for what is newer than the last that it was given."""

    def __init__(self, directory: Path, admin: Admin) -> None:
        self._directory = directory
        self._admin = admin
        self._known = -1  # the first answer tells whether the folder is what Ranger has

    def __call__(self) -> None:
        """Raise PolicyError or RetriableError where the folder stays as it is."""
        found = self._admin.download(self._known)
        if found is None:
            return
        if found != local_policies(self._directory):
            tried(self._directory, found)
            put(self._directory, found)
        self._known = int(found["policyVersion"])


def renewal(settings: Settings) -> Callable[[], None] | None:
    """None without an Admin; ConfigError where its client is not installed."""
    if not settings.admin:
        return None
    return Renewal(settings.directory, admin_of(settings))


def admin_of(settings: Settings) -> Admin:
    service = str(local_policies(settings.directory)["serviceName"])
    return connect(settings.admin, settings.user, settings.password, service)
