"""Recognize changes of the source table that come from the mapping's own target."""

from __future__ import annotations

from ..config.dsn import Dsn
from ..postgres.error_classes import classified_errors
from ..postgres.session import connect

_HAS_OFFSETS = "SELECT to_regclass('sink.partition_offset') IS NOT NULL"
_READS = "SELECT EXISTS (SELECT FROM sink.partition_offset WHERE mapping = %s AND topic = %s)"
_PARTS = 3  # sink/<mapping>/<slot>


class EchoGuard:
    """Decides by its replication origin whether a change of the source table is an echo.

    The runner that wrote the change has claimed its partitions in the source database, where they
    are stored with their topic.  Each mapping is looked up once; that may raise RetriableError.
    """

    def __init__(self, dsn: Dsn, target: str) -> None:
        """`dsn` is the source database's, `target` is the topic of the mapping's own target."""
        self._dsn = dsn
        self._target = target
        self._known: dict[str, bool] = {}

    def __call__(self, origin: str) -> bool:
        """Return whether a change with this origin came from the mapping's own target."""
        parts = origin.split("/")
        if len(parts) != _PARTS or parts[0] != "sink":
            return False
        if parts[1] not in self._known:
            self._known[parts[1]] = self._reads_target(parts[1])
        return self._known[parts[1]]

    def _reads_target(self, mapping: str) -> bool:
        with classified_errors(), connect(self._dsn, "sink-runner echo guard") as connection:
            if connection.execute(_HAS_OFFSETS).fetchone() != (True,):
                return False
            found = connection.execute(_READS, (mapping, self._target)).fetchone()
        return found == (True,)
