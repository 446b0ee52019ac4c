"""The settings of lineage events: ``[lineage]``."""

from __future__ import annotations

from collections.abc import Iterator

from .reader import Duration, Secret, section
from .tls import Tls, url_faults


@section
class Lineage(Tls):
    """Where OpenLineage events about the mappings are sent: to Marquez, or to another receiver."""

    url: str = ""
    """Base URL of the receiver; events are posted to its path /api/v1/lineage. "": no events."""
    api_key: Secret | None = None
    """Bearer token of the receiver; read again for each event."""
    allow_plaintext_credentials: bool = False
    """Permit api_key with http://, which sends it without encryption."""
    namespace: str = "sink-runner"
    """Namespace of the jobs; that of a dataset is its server, postgres://host:port."""
    running_seconds: Duration = 300.0
    """Interval at which what runs reports that it runs; 0: only its start and its end."""

    @property
    def is_encrypted(self) -> bool:
        return self.url.lower().startswith("https:")

    def _faults(self) -> Iterator[str]:
        if not self.url:
            return
        plaintext = self.api_key is None or self.allow_plaintext_credentials
        yield from url_faults("url", self.url, login="lineage.api_key", may_be_plaintext=plaintext)
        yield from self._unused_tls_keys("a url")
