"""Mappings that another runner runs: which of them feed a table from our own target?"""

from __future__ import annotations

import psycopg

from ..config.dsn import Dsn
from ..postgres.error_classes import classify_error
from ..postgres.session import connect

_KEPT = "SELECT to_regclass('sink.partition_offset') IS NOT NULL"
_FEEDS = "SELECT EXISTS (SELECT FROM sink.partition_offset WHERE mapping = %s AND topic = %s)"
_PARTS = 3  # sink/<mapping>/<slot>


class Feeders:
    """Asked for the origin of a change of our source table.

    Whoever wrote it claimed its partitions in that database first, so its topic is known there.
    An origin is asked about once; may raise RetriableError.
    """

    def __init__(self, dsn: Dsn, target: str) -> None:
        """`dsn` leads to the database of the source, `target` is our own."""
        self._dsn = dsn
        self._target = target
        self._known: dict[str, bool] = {}

    def __call__(self, origin: str) -> bool:
        """Would the change only go back to where it came from?"""
        parts = origin.split("/")
        if len(parts) != _PARTS or parts[0] != "sink":
            return False
        if parts[1] not in self._known:
            self._known[parts[1]] = self._ask(parts[1])
        return self._known[parts[1]]

    def _ask(self, mapping: str) -> bool:
        try:
            with connect(self._dsn, "sink-runner feeders") as connection:
                if connection.execute(_KEPT).fetchone() != (True,):
                    return False
                found = connection.execute(_FEEDS, (mapping, self._target)).fetchone()
        except psycopg.Error as fault:
            raise classify_error(fault) from fault
        return found == (True,)
