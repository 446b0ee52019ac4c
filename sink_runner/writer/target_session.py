"""The connection of a mapping to its target, which is reopened after an error."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg

from ..config.dsn import Dsn
from ..errors import EventError, RetriableError, SinkError
from ..model.time_limit import TimeLimit
from ..plugin import Table
from ..postgres.error_classes import classify_error, transaction_fault
from ..postgres.session import connect, renew_commit_time, use_origin
from .resolve import RowWriter

Connection = psycopg.Connection[Any]


class TargetSession:
    """A context manager that opens the connection if needed.

    If its block fails, the connection is closed and the error is classified.  One thread at a time
    uses it, apart from `cancel`.
    """

    def __init__(
        self,
        mapping: str,
        dsn: Dsn,
        writer: RowWriter,
        *,
        timeout: float = 60.0,
        table: Table | None = None,
        marks_origin: bool = True,
    ) -> None:
        """`table` is the target, for messages; `marks_origin` gives writes a replication origin."""
        self._mapping = mapping
        self._dsn = dsn
        self.writer = writer
        self._table = table
        self._marks_origin = marks_origin
        self._connection: Connection | None = None
        self._role: str | None = None
        self.limit = TimeLimit(timeout)
        self.immediate = False
        """Whether to check deferred constraints at once: a commit does not name the row."""

    def __enter__(self) -> Connection:
        try:
            return self.open()
        except psycopg.Error as fault:
            self.close()
            raise self._classify(fault) from fault

    def __exit__(self, kind: object, fault: BaseException | None, trace: object) -> None:
        if isinstance(fault, psycopg.Error):
            self.close()
            error = self._classify(fault)
            if isinstance(error, EventError) and not self.immediate:
                self.immediate = True
                error = RetriableError("the target refused a row at the commit: once more")
            raise error from fault
        if fault is None:
            self.limit.record_success()

    def open(self) -> Connection:
        """Return the open connection, prepared for the mapping's writer."""
        if self._connection is None or self._connection.closed:
            connection = connect(self._dsn, f"sink-runner {self._mapping}", self.limit.seconds)
            try:
                if self._marks_origin:
                    use_origin(connection, self._mapping)
                self.writer.prepare(connection)
                self.writer.unique.load(connection)
            except BaseException:
                connection.close()
                raise
            self._connection, self._role = connection, connection.info.user
        renew_commit_time(self._connection)
        return self._connection

    def cancel(self) -> None:
        """Stop the statement that is running, from another thread."""
        connection = self._connection
        if connection is not None:
            with suppress(psycopg.Error):  # the statement has ended already
                connection.cancel_safe(timeout=2.0)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _classify(self, fault: psycopg.Error) -> SinkError:
        """Translate the error; after a timeout the next statement gets more time."""
        if ended := transaction_fault(fault, self._mapping):
            return ended
        return self.limit.record_failure(classify_error(fault, role=self._role, table=self._table))
