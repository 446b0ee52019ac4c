"""The settings of the masking policies and of Ranger Admin: ``[policies]``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from typing import Annotated

from .reader import Duration, Minimum, Secret, section
from .tls import Tls, url_faults


@section
class RangerAdmin(Tls):
    """Address and credentials of Ranger Admin."""

    admin: str = ""
    """URL of Ranger Admin; its policies, which the runner fetches into the folder, replace those
    of the folder. Empty: the folder alone is used."""
    user: str = ""
    """User that signs in to Ranger Admin."""
    password: Secret | None = None
    """The user's password; read again when Ranger Admin refuses it."""
    kerberos: bool = False
    """Sign in with the Kerberos ticket of the process, in place of user and password; needs
    pip install requests-kerberos."""
    allow_plaintext_credentials: bool = False
    """Permit signing in by http://, which sends credentials without encryption."""

    @property
    def is_encrypted(self) -> bool:
        return self.admin.lower().startswith("https:")

    def _faults(self) -> Iterator[str]:
        has_login = bool(self.user or self.kerberos)
        if self.admin:
            yield from url_faults(
                "admin",
                self.admin,
                login="policies.user and policies.password",
                may_be_plaintext=not has_login or self.allow_plaintext_credentials,
            )
        if bool(self.user) != bool(self.password):
            yield "user and password need each other"
        if self.kerberos and self.user:
            yield "kerberos needs no user and password: set one of the two"
        yield from self._unused_tls_keys("admin")


@section
class Policies(RangerAdmin):
    """Which columns are masked, and how."""

    directory: Path = Path("ranger-policies")
    """Folder of the masking policies."""
    key: str = field(default="", repr=False)
    """Key of MASK_HASH, 32 characters or more; needed only where a policy uses it."""
    refresh_seconds: Duration = 5.0
    """Interval of the checks for changed policies while running; 0: no checks."""
    max_age_seconds: Annotated[float, Minimum(1)] = 3600.0
    """Mappings pause, and the API's reads and the commands are refused, once Ranger Admin has not
    confirmed the policies (or the folder could not be read) for this long. They resume when it
    does."""
