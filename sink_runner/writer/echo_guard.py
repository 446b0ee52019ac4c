"""Finds the mappings of other runners that write our target's changes to our source table."""

from __future__ import annotations

from ..config.dsn import Dsn
from ..postgres.error_classes import classified_errors
from ..postgres.session import connect

_HAS_OFFSETS = "SELECT to_regclass('sink.partition_offset') IS NOT NULL"
_READS = "SELECT EXISTS (SELECT FROM sink.partition_offset WHERE mapping = %s AND topic = %s)"
_PARTS = 3  # sink/<mapping>/<slot>


class EchoGuard:
    """Tests the origins of the changes of our source table.

    The runner that wrote such a change has claimed its partitions in the source database, which so
    has its topic.  Each mapping is looked up once; this may raise RetriableError.
    """

    def __init__(self, dsn: Dsn, target: str) -> None:
        """`dsn` is that of the source database, `target` the topic of our own target."""
        self._dsn = dsn
        self._target = target
        self._known: dict[str, bool] = {}

    def __call__(self, origin: str) -> bool:
        """Return whether a change with this origin came from our own target."""
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
