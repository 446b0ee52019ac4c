"""The exceptions of the runner and its plugins: the class decides what the runner does next.

SinkError
|__ConfigError           quarantine this mapping until its configuration is corrected
|  |__PolicyError        ... because a masking policy is missing, ambiguous or unknown
|  |__AccessError         ... because a server refuses this client
|  |__DowngradeError      stop it: a newer version has migrated the database
|__PluginError           leave this plugin out: it cannot be loaded or is malformed
|__EventError            this event cannot be applied: dead-letter it, go on
|  |__DecodeError        ... because its bytes do not match their schema
|  |__ValueRefusedError  ... because a value does not fit its column in the target unchanged
|  |__QualityError       ... because it breaks a rule of its mapping; knows rule and column
|  |  |__ExpiredError    ... because a row that it needs did not arrive in time
|  |__StepError          ... because a plugin's step failed; knows the plugin and the step
|  |__WaitingError       ... yet: a row that it needs is missing, so defer it
|  |__WriteError         ... because the target refused the row; knows the SQLSTATE
|__RetriableError        a dependency is unavailable: pause the mapping, try again
|  |__TimedOutError      ... because it took too long: allow more time at the next attempt
|  |__StalePoliciesError  ... because the masking policies were not confirmed for too long
|  |__SchemaError         ... because a change of the source table would corrupt target rows
|__BatchDroppedError     roll this batch back; read it again if its partitions are still ours
|  |__FencedError         ... because another runner owns the partition
|  |__PoliciesChangedError ... because it was masked by policies that were replaced
|  |__StoppedError        ... because the runner stops
|__FatalError            stop this mapping, offsets intact; the others go on

No message of these classes ever holds a row's value.
"""

from __future__ import annotations

import sys


class SinkError(Exception):
    """Root of all exceptions raised by the runner."""


class ConfigError(SinkError):
    """The configuration, a table, a topic or a privilege is wrong; no event is at fault."""


class PolicyError(ConfigError):
    """A column that must be masked has no usable policy."""


class AccessError(ConfigError):
    """A server refuses this client, or this client does not trust the server's certificate.

    As after every ConfigError, the mapping is built again later and rereads credentials and files,
    so no restart is needed after a rotation or a new ACL.
    """


class DowngradeError(ConfigError):
    """A newer version of the runner has migrated the database, so this version cannot use it."""


class PluginError(SinkError):
    """A plugin cannot be used as installed."""

    def __init__(self, plugin: str, reason: str) -> None:
        super().__init__(f"plugin {plugin!r}: {reason}")
        self.plugin = plugin
        self.reason = reason


class EventError(SinkError):
    """One event cannot be applied; it goes to the dead letters."""


class UnreadColumnError(KeyError):
    """A function of a mapping uses a source column that the mapping does not read."""

    def __init__(self, column: str | None) -> None:
        """`column` is None if its name may have been computed from a value of the row."""
        super().__init__(column)
        self.column = column

    def __str__(self) -> str:
        name = "a column" if self.column is None else f"column {self.column!r}"
        return f"{name} is not read by this mapping: add it to extra_columns"


class MaskedColumnError(AttributeError):
    """A hook does more than compare a value that is masked for the target."""

    def __init__(self, column: str) -> None:
        super().__init__(
            f"column {column!r} is masked for this target: compare it only, or add it to "
            "reads_unmasked"
        )
        self.column = column


def describe_raised(fault: BaseException) -> str:
    """Return the class of an exception that a function of a mapping raised.

    Its text is added only where it names a column: any other text may quote a value of the row.
    """
    known = isinstance(fault, UnreadColumnError | MaskedColumnError) and is_ours(fault)
    name = "KeyError" if isinstance(fault, UnreadColumnError) else class_name(fault)
    return f"raised {name}" + (f": {fault}" if known else "")


_PACKAGE = __name__.partition(".")[0]


def is_ours(fault: BaseException, *, nested: bool = False) -> bool:
    """Return whether the runner itself created the exception, so that its text quotes no row.

    A plugin may raise the classes of this module, or subclasses with a text of their own, so the
    module that raised the exception decides.  An exception that was never raised is the runner's,
    unless it is a cause or part of a group (`nested`): a plugin can put one there.
    """
    if type(fault).__module__.partition(".")[0] != _PACKAGE:
        return False
    if not isinstance(fault, SinkError | UnreadColumnError | MaskedColumnError):
        return False
    if fault.__traceback__ is None:
        return not nested
    return raised_in(fault).partition(".")[0] == _PACKAGE


def raised_in(fault: BaseException) -> str:
    """Return the module that raised the exception; "" if it was not raised."""
    traceback = fault.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return "" if traceback is None else str(traceback.tb_frame.f_globals.get("__name__", ""))


def class_of(fault: BaseException) -> type[BaseException]:
    """Return the exception's class, or its nearest base that its module defines under its name.

    The name of a class that was created with `type(name, ...)` may contain a value of a row.
    """
    return next(kind for kind in type(fault).__mro__ if _has_literal_name(kind))


def class_name(fault: BaseException) -> str:
    """Return the name of the exception's class, which quotes no row."""
    return class_of(fault).__name__


def _has_literal_name(kind: type) -> bool:
    if "<locals>" in kind.__qualname__:  # only a class statement sets it
        return True
    found: object = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is kind


def own_text(fault: BaseException) -> str:
    """Return the exception's text if it is the runner's own, else the name of its class."""
    return str(fault) if is_ours(fault) else class_name(fault)


class DecodeError(EventError):
    """The bytes of the message do not match the schema that they name."""


class ValueRefusedError(EventError):
    """A value does not fit the target's column unchanged."""


class QualityError(EventError):
    """A row breaks a rule of its mapping; `column` is "" for a rule about the whole row."""

    def __init__(self, rule: str, column: str = "") -> None:
        what = f"column {column!r}" if column else "the row"
        super().__init__(f"{what} breaks rule {rule!r}")
        self.rule = rule
        self.column = column


class StepError(EventError):
    """A plugin failed on one event.

    `fault` quotes no row, so it may be logged; the cause may not.
    """

    def __init__(self, plugin: str, step: str, fault: str) -> None:
        super().__init__(f"{step} of plugin {plugin!r} {fault}")
        self.plugin = plugin
        self.step = step
        self.fault = fault


class WaitingError(EventError):
    """A row that the event needs is missing; it is deferred, and with it later events of its key.

    `column` is "" if it waits for an earlier event of its key.  `sqlstate` and `constraint` name
    the foreign key or unique constraint that the row violated.
    """

    def __init__(
        self,
        reason: str,
        column: str = "",
        *,
        sqlstate: str | None = None,
        constraint: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.column = column
        self.sqlstate = sqlstate
        self.constraint = constraint


class ExpiredError(QualityError):
    """A row that the event needs did not arrive in time."""

    rule = "found"

    def __init__(self, reason: str, column: str = "", *, sqlstate: str | None = None) -> None:
        super().__init__(self.rule, column)
        self.args = (reason,)
        self.sqlstate = sqlstate

    @classmethod
    def of(cls, error: WaitingError) -> ExpiredError:
        """Return the error of an event that was deferred for too long."""
        return cls(f"gave up: {own_text(error)}", error.column, sqlstate=error.sqlstate)


class WriteError(EventError):
    """The target database refused the values of one row."""

    def __init__(
        self, reason: str, *, sqlstate: str | None = None, constraint: str | None = None
    ) -> None:
        super().__init__(reason)
        self.sqlstate = sqlstate
        self.constraint = constraint


class RetriableError(SinkError):
    """Raise from a plugin or the writer to pause this mapping and retry the batch.

    `retry_after` is the shortest wait in seconds; the settings may demand a longer one.
    """

    lasting = False
    """Whether only a person can remove the cause: the mapping is reported as paused at once."""

    def __init__(self, reason: str, *, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class TimedOutError(RetriableError):
    """A statement or a lock took longer than permitted; the next attempt has more time."""


class StalePoliciesError(RetriableError):
    """The masking policies may be out of date; no event is masked until they are confirmed."""

    lasting = True


class SchemaError(RetriableError):
    """The schema of the source does not fit the mapping; the message says what to do."""

    lasting = True


class BatchDroppedError(SinkError):
    """The batch is not written and its offsets are not stored."""


class FencedError(BatchDroppedError):
    """Another runner owns a partition of the batch."""


class PoliciesChangedError(BatchDroppedError):
    """The masking policies were replaced after the batch was masked; read and mask it again."""


class StoppedError(BatchDroppedError):
    """The runner stops, and was waiting for a dependency."""


class FatalError(SinkError):
    """Stop this mapping without committing; the events that it has not written stay in Kafka."""


def lookup_failed(column: str, fault: Exception) -> EventError:
    """Return the EventError of a lookup that failed, with the text of a ValueRefusedError."""
    reason = f": {own_text(fault)}" if isinstance(fault, ValueRefusedError) else ""
    error = EventError(f"lookup of column {column!r} failed{reason}")
    error.__cause__ = fault
    return error


def source_truncated(source: str, target: str) -> FatalError:
    """Return the error that stops a mapping whose source was truncated, with what to do next."""
    return FatalError(
        f"{source} was truncated, and the mapping does not say what becomes of {target}. It stops "
        "with its offsets before the TRUNCATE. Declare on_truncate=OnTruncate.EMPTY to empty the "
        "target as well, or on_truncate=OnTruncate.KEEP to keep its rows, and start the runner "
        "again"
    )
