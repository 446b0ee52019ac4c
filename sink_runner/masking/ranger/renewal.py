"""Keep the folder's policies equal to those of Ranger Admin, if one is configured."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ConfigError, PolicyError
from ..policy import Policies
from ..policy_file import POLICIES
from ..policy_json import value_of
from ..policy_watch import PolicyWatch
from .admin import Admin, Content, connect
from .sync import load_with, local_policies, replace_policies

if TYPE_CHECKING:
    from ...config.policies import Policies as Settings

CONFIRMED = ".ranger-confirmed"
"""A file with the digest of the policies that Ranger confirmed last, at its modification time."""


class Renewal:
    """Called periodically; downloads policies that are newer than those of the last download.

    The last download stays in force until Ranger has newer policies: if the folder changes in
    between, as by a deployment of an old copy, it is written there again.
    """

    def __init__(self, directory: Path, admin: Admin, key: str = "") -> None:
        self._directory = directory
        self._admin = admin
        self._key = key
        self._known = -1  # unknown until the first answer
        self._last: Content | None = None

    def __call__(self) -> None:
        """Raise PolicyError or RetriableError if the folder could not be renewed."""
        newer = self._admin.download(self._known)
        found = self._last if newer is None else newer
        if found is None:
            return
        if found != self._in_folder():
            load_with(self._directory, found, self._key)
            replace_policies(self._directory, found)
        self._last, self._known = found, value_of(found, "policyVersion", int, "Ranger Admin")
        _note_confirmed(self._directory)

    def _in_folder(self) -> Content | None:
        """Return the folder's policies; an unreadable file is replaced like any other."""
        try:
            return local_policies(self._directory)
        except PolicyError:
            return None


def _note_confirmed(directory: Path) -> None:
    """Record that Ranger has just confirmed the folder, for a later start without Ranger."""
    with suppress(OSError):  # a folder that cannot be written is trusted by its own time
        note, digest = directory / CONFIRMED, _digest(directory)
        if not note.exists() or note.read_text() != digest:
            note.write_text(digest)
        os.utime(note)


def confirmed_age(directory: Path) -> float:
    """Return the seconds since Ranger confirmed the folder's policies, or they were put there."""
    found = [(directory / POLICIES).stat().st_mtime]
    with suppress(OSError):
        note = directory / CONFIRMED
        if note.read_text() == _digest(directory):
            found.append(note.stat().st_mtime)
    return max(0.0, time.time() - max(found))


def _digest(directory: Path) -> str:
    return hashlib.sha256((directory / POLICIES).read_bytes()).hexdigest()


def watch_policies(settings: Settings) -> PolicyWatch:
    """Watch the folder's policies, after one download if a Ranger Admin is configured.

    Raises PolicyError if the folder cannot be used, ConfigError for a wrong setting.
    """
    download = build_renewal(settings)
    watch = PolicyWatch(
        settings.directory,
        settings.key,
        download=download,
        age=confirmed_age(settings.directory) if download else 0.0,
        max_age=settings.max_age_seconds if settings.refresh_seconds else math.inf,
    )
    watch.look()
    return watch


def renewed_policies(settings: Settings) -> Policies:
    """Return the policies for one command, confirmed by Ranger Admin if one is configured.

    If it does not answer, returns those of the folder.  Raises StalePoliciesError if they were
    confirmed too long ago.
    """
    return watch_policies(settings).current()


def build_renewal(settings: Settings) -> Callable[[], None] | None:
    """Return what renews the folder; None if no Ranger Admin is configured.

    Raises ConfigError if the client of Ranger is not installed.
    """
    if not settings.admin:
        return None
    if not 0 < settings.refresh_seconds <= settings.max_age_seconds:
        raise ConfigError(
            "policies.refresh_seconds must be more than 0 and at most policies.max_age_seconds "
            f"({settings.max_age_seconds:g}) where policies.admin is set, got "
            f"{settings.refresh_seconds:g}"
        )
    return Renewal(settings.directory, admin_of(settings), settings.key)


def admin_of(settings: Settings) -> Admin:
    """Return the client for the folder's service; raise ConfigError if [policies] has no admin."""
    service = value_of(local_policies(settings.directory), "serviceName", str, POLICIES)
    return connect(settings, service)
