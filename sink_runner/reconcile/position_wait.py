"""Wait until the target of a mapping has everything up to a position in the source's log."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple

from ..config import Config
from ..config.database import find_database
from ..errors import ConfigError
from ..plugin import TableMapping
from ..postgres.error_classes import classified_errors
from ..postgres.session import connect
from .log_marker import POLL_SECONDS, LogMarker, read_log_end

_LSN = re.compile(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}")
_APPLICATION = "sink-runner wait-for"


def parse_lsn(text: str) -> int:
    """Return a position that PostgreSQL writes as ``16/B374D848``.  Raises ValueError."""
    if not _LSN.fullmatch(text):
        raise ValueError(text)
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def format_lsn(position: int) -> str:
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


class Reached(NamedTuple):
    """How far the target of a mapping has come."""

    mapping: str
    reached: bool
    lsn: str
    """The position in the source's log that was waited for."""
    captured: str | None
    """The position up to which Debezium has confirmed the log; None if nothing is captured."""
    unapplied: int | None
    """How many events are not applied; None while it is not known which ones."""
    seconds: float

    @property
    def sentence(self) -> str:
        if self.reached:
            return f"{self.mapping}: reached {self.lsn} after {self.seconds:.1f} s"
        if self.captured is None:
            why = "no replication slot of the source is in use: start Debezium"
        elif self.unapplied is None:
            why = f"Debezium has captured the source's log up to {self.captured}"
        else:
            why = f"{self.unapplied:,} events are not applied"
        return f"{self.mapping}: not reached {self.lsn} within {self.seconds:.1f} s: {why}"


def current_position(mapping: TableMapping, config: Config) -> int:
    """Return the present end of the source's log."""
    dsn = find_database(config.databases, mapping.source_table.database).reader_dsn
    with classified_errors(), connect(dsn, _APPLICATION) as connection:
        return read_log_end(connection)


def wait_for(
    name: str,
    mapping: TableMapping,
    config: Config,
    position: int,
    *,
    deadline: float,
    stop: threading.Event,
) -> Reached:
    """Wait until `deadline`, by the monotonic clock, or until `stop` is set.

    Events that a filter drops and echoes count as applied: what counts is the offset.  Raises
    ConfigError for a position that the source's log has not reached.
    """
    source = find_database(config.databases, mapping.source_table.database).reader_dsn
    target = find_database(config.databases, mapping.target_table.database).dsn
    began = time.monotonic()
    with (
        classified_errors(),
        connect(source, _APPLICATION) as reader,
        connect(target, _APPLICATION) as writer,
    ):
        if position > read_log_end(reader):
            raise ConfigError(
                f"the log of database {mapping.source_table.database!r} has not reached "
                f"{format_lsn(position)}: expected a position of this server; read it again, as it "
                "is of another server or older than a restore"
            )
        marker = LogMarker.of_config(name, mapping, config, (reader, writer), stop)
        captured, unapplied = _wait(marker, position, deadline, stop)
    return Reached(
        mapping=name,
        reached=unapplied == 0,
        lsn=format_lsn(position),
        captured=None if captured is None else format_lsn(captured),
        unapplied=unapplied,
        seconds=time.monotonic() - began,
    )


def _wait(
    marker: LogMarker, position: int, deadline: float, stop: threading.Event
) -> tuple[int | None, int | None]:
    """Return up to where the log is captured, and how many events before that are not applied."""
    ends: Mapping[int, int] | None = None
    captured = unapplied = None
    while True:
        if ends is None:
            captured = marker.read_confirmed()
            if captured is not None and captured >= position:
                ends = marker.read_ends()
        if ends is not None:
            unapplied = marker.count_unapplied(ends)
        left = deadline - time.monotonic()
        if unapplied == 0 or left <= 0 or stop.wait(min(left, POLL_SECONDS)):
            return captured, unapplied
