"""Settings of Ranger Admin, part of ``[policies]``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from .tls import Tls, url_faults
from .values import Secret, doc


@dataclass(frozen=True, slots=True, kw_only=True)
class RangerAdmin(Tls):
    """Where Ranger Admin is, and how to sign in there."""

    admin: str = field(
        default="",
        metadata=doc(
            "URL of Ranger Admin, which then has the last word: the runner fetches its policies "
            "into the folder. Empty: the folder alone counts."
        ),
    )
    user: str = field(default="", metadata=doc("Who signs in to Ranger Admin."))
    password: Secret | None = field(
        default=None,
        repr=False,
        metadata=doc("The user's password; read again when Ranger Admin refuses it."),
    )
    kerberos: bool = field(
        default=False,
        metadata=doc(
            "Sign in with the Kerberos ticket of the process, in place of user and password; needs "
            "pip install requests-kerberos."
        ),
    )
    allow_plaintext_credentials: bool = field(
        default=False,
        metadata=doc("Permit signing in by http://, which sends credentials without encryption."),
    )

    @property
    def is_encrypted(self) -> bool:
        return self.admin.lower().startswith("https:")

    def _faults(self) -> Iterator[str]:
        is_signed = bool(self.user or self.kerberos)
        if self.admin:
            yield from url_faults(
                "admin",
                self.admin,
                login="policies.user and policies.password",
                may_be_plaintext=not is_signed or self.allow_plaintext_credentials,
            )
        if bool(self.user) != bool(self.password):
            yield "user and password need each other"
        if self.kerberos and self.user:
            yield "kerberos needs no user and password: set one of the two"
        yield from self._unused_tls_keys("admin")
