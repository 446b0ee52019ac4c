"""TLS as the client of a server: settings, URLs, and the reason why a connection is refused."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from ..errors import AccessError
from .reader import Secret, section

Refusal = Literal["untrusted", "certificate", "no TLS", "TLS"]

TLS_KEYS = ("ca_file", "certificate_file", "key_file", "key_password")
_PROBLEMS: Mapping[Refusal, str] = {
    "untrusted": "has a certificate that is not trusted ({reason})",
    "certificate": "refuses the client certificate ({reason})",
    "no TLS": "does not speak TLS",
    "TLS": "expects TLS",
}
_PORTS = {"http": 80, "https": 443}
_ALERT_SECONDS = 0.5
"""Time to wait for a refusal: with TLS 1.3 it comes after the client's handshake."""


@section
class Tls:
    """The certificates by which both sides of a connection prove their identity."""

    ca_file: Path | None = None
    """PEM file of the authorities that sign the servers' certificates; without it the system's
    authorities are trusted."""
    check_hostname: bool = True
    """Whether a certificate must be for the server's host name."""
    certificate_file: Path | None = None
    """PEM file of the client certificate (mTLS), with its chain."""
    key_file: Path | None = None
    """PEM file of its private key; without it, certificate_file contains the key."""
    key_password: Secret | None = None
    """Password of an encrypted private key."""

    def __post_init__(self) -> None:
        if faults := [*self._faults()]:
            raise ValueError("; ".join(faults))
        if self.is_encrypted:
            self.tls_context()  # reports a missing or unusable file at the start

    @property
    def is_encrypted(self) -> bool:
        """Whether the other settings require TLS."""
        return False

    def _faults(self) -> Iterator[str]:
        """Describe impossible combinations, by key."""
        yield from ()

    def _unused_tls_keys(self, url_key: str) -> Iterator[str]:
        """Describe the settings of TLS that a URL with http:// does not use."""
        if not self.is_encrypted:
            for key in TLS_KEYS:
                if getattr(self, key):
                    yield f"{key} needs {url_key} with https://"

    def pool_options(self, context: ssl.SSLContext | None) -> dict[str, Any]:
        """Return the options of urllib3's pools for a `tls_context`, which may be None."""
        if context is None:
            return {}
        if self.check_hostname:
            return {"ssl_context": context}
        return {"ssl_context": context, "assert_hostname": False}  # urllib3 would check it itself

    def tls_context(self) -> ssl.SSLContext:
        """Return a context from the current files; ValueError names the key of a bad one."""
        if self.certificate_file is None and (self.key_file or self.key_password):
            raise ValueError("key_file and key_password need certificate_file")
        if self.ca_file is None:
            context = ssl.create_default_context()
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            try:
                context.load_verify_locations(self.ca_file)
            except OSError as exc:  # SSLError is one
                raise ValueError(_describe_unusable("ca_file", self.ca_file, exc)) from None
        context.check_hostname = self.check_hostname
        if self.certificate_file is not None:
            self._load_certificate(context, self.certificate_file)
        return context

    def _load_certificate(self, context: ssl.SSLContext, certificate: Path) -> None:
        # Without an empty password OpenSSL would ask the terminal for one.
        password = self.key_password.read() if self.key_password else ""
        for key, path in (("certificate_file", certificate), ("key_file", self.key_file)):
            if path is not None and not path.is_file():
                raise ValueError(f"{key}: {path} is not a file")
        try:
            context.load_cert_chain(certificate, self.key_file, lambda: password)
        except OSError as exc:
            keys = "certificate_file, key_file or key_password"
            raise ValueError(_describe_unusable(keys, certificate, exc)) from None


def url_faults(key: str, url: str, *, login: str, may_be_plaintext: bool) -> Iterator[str]:
    """Describe what is wrong with a setting's URL, without quoting it: it may have a password.

    `login` names the settings of the credentials. `may_be_plaintext`: no credentials are set, or
    the configuration permits sending them without encryption.
    """
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of a port or an IPv6 address
        is_usable = False
    if not is_usable:
        yield f"{key}: expected http://host:port/path or https://host:port/path"
    elif "@" in url:
        yield (
            f"{key} holds a user or password: set {login} instead, for example "
            'password = { file = "/run/secrets/password" }'
        )
    elif parts.scheme == "http" and not may_be_plaintext:
        yield (
            f"{key} with http:// sends credentials without encryption: use https://, or set "
            "allow_plaintext_credentials = true"
        )


def check_tls(
    server: str,
    url: str,
    context: ssl.SSLContext | None,
    advice: Mapping[Refusal, str],
    seconds: float,
) -> None:
    """Raise AccessError if a request failed because of TLS; return if the server is down."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        with socket.create_connection((host, parts.port or _PORTS[parts.scheme]), seconds) as raw:
            found = refusal(raw, host, context, advice)
    except OSError:
        return
    if found:
        raise AccessError(f"{server} {url} {found}")


def refusal(
    raw: socket.socket, host: str, context: ssl.SSLContext | None, advice: Mapping[Refusal, str]
) -> str | None:
    """Return why a server and this client cannot agree on TLS, with advice; None if they can.

    Without a context the client does not use TLS.  Raises OSError if the connection is lost.
    """
    found = _refusal_of_plaintext(raw) if context is None else _refusal_of_tls(raw, host, context)
    if found is None:
        return None
    kind, reason = found
    return f"{_PROBLEMS[kind].format(reason=reason)}: {advice[kind]}"


def _refusal_of_tls(
    raw: socket.socket, host: str, context: ssl.SSLContext
) -> tuple[Refusal, str] | None:
    try:
        with context.wrap_socket(raw, server_hostname=host) as secure:
            secure.settimeout(_ALERT_SECONDS)
            with suppress(TimeoutError):
                secure.recv(1)
    except ssl.SSLCertVerificationError as fault:
        return "untrusted", fault.verify_message
    except ssl.SSLError as fault:
        reason = fault.reason or ""
        if "ALERT" in reason:
            return "certificate", reason
        if reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST"}:
            return "no TLS", reason
    return None


def _refusal_of_plaintext(raw: socket.socket) -> tuple[Refusal, str] | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only the handshake is sent, no data
    try:
        with context.wrap_socket(raw) as secure:
            # wrap_socket also accepts a closed connection, which has no version.
            return ("TLS", "") if secure.version() else None
    except ssl.SSLError as fault:
        return ("TLS", "") if "ALERT" in (fault.reason or "") else None


def _describe_unusable(key: str, path: Path, exc: OSError) -> str:
    reason = exc.reason if isinstance(exc, ssl.SSLError) else exc.strerror
    return f"{key}: {path}: {reason or 'not a PEM file that can be used'}"
