"""The folder's policies follow Ranger Admin's, where there is one."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError, PolicyError
from .admin import Admin, connect
from .exchange import Content, local_policies, put, tried
from .policy import Policies
from .policy_file import POLICIES
from .policy_json import value_of
from .policy_watch import PolicyWatch

if TYPE_CHECKING:
    from ..config.policies import Policies as Settings

CONFIRMED = ".ranger-confirmed"
"""Holds the digest of the policies that Ranger confirmed last; its time says when."""


class Renewal:
    """Called now and then; asks for what is newer than the last that it was given.

    What it was given holds until Ranger says otherwise: where the folder has become another since,
    as by a deploy that brings an old copy, it is put there again.
    """

    def __init__(self, directory: Path, admin: Admin, key: str = "") -> None:
        self._directory = directory
        self._admin = admin
        self._key = key
        self._known = -1  # unknown until the first answer
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
        _note_confirmed(self._directory)

    def _here(self) -> Content | None:
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
    """Watch the folder's policies, after one download from Ranger Admin where there is one.

    Raises PolicyError where the folder cannot be used, ConfigError for the settings.
    """
    download = renewal(settings)
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
    """Return the policies for one command, confirmed by Ranger Admin where there is one.

    While it does not answer, those of the folder are returned; StalePoliciesError if they were
    confirmed too long ago.
    """
    return watch_policies(settings).current()


def renewal(settings: Settings) -> Callable[[], None] | None:
    """None without an Admin; ConfigError where its client is not installed."""
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
    """Return the Admin of the folder's service; raise ConfigError where either is not set."""
    service = value_of(local_policies(settings.directory), "serviceName", str, POLICIES)
    return connect(settings, service)
