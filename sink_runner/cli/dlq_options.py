"""What the commands of ``sink-runner dlq`` share: the selection of dead letters, and output."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from functools import wraps
from typing import Any, TypeVar

import click

from .. import log
from ..dlq.stored_dead_letters import STATUSES, StoredDeadLetter, Wanted
from ..inspection.service import DlqService
from ..postgres.error_classes import classified_errors
from .arguments import moment, user_name
from .configuration import read_config, read_plugins
from .tables import print_lines

F = TypeVar("F", bound=Callable[..., Any])

ALL = "ALL"
_VALUE_COLUMN = 17
"""Characters before a value of `dlq show` and before a detail of `dlq explain`, at least."""


@dataclass(frozen=True)
class Selection:
    """Which dead letters are meant: by their ids, or by all of the filters that are given."""

    mapping: str | None
    error: str | None
    since: datetime | None
    until: datetime | None
    key: str | None
    status: str | None
    ids: tuple[str, ...] = ()
    more_ids: tuple[str, ...] = ()

    @property
    def named(self) -> list[str]:
        return [*self.ids, *self.more_ids]

    def wanted(self, service: DlqService, every: Sequence[str] = STATUSES) -> Wanted:
        """Return the filters; `every` are the statuses that ALL stands for."""
        service.check_mapping(self.mapping)
        status = self.status or ALL
        return Wanted(
            mapping=self.mapping,
            error=self.error,
            since=self.since,
            until=self.until,
            statuses=every if status == ALL else (status,),
        )

    def __bool__(self) -> bool:
        filters = (self.mapping, self.error, self.since, self.until, self.key)
        return bool(self.named) or any(filters)


def selection_options(
    *statuses: str,
    default: str | None = "OPEN",
    status_help: str = "Only this status.",
    with_ids: bool = True,
) -> Callable[[F], Callable[..., Any]]:
    """Pass the options that select dead letters to a command as its `selection`."""
    ids = [
        click.argument("ids", metavar="[ID]...", nargs=-1),
        click.option("--id", "more_ids", metavar="ID", multiple=True, help="The same as ID."),
    ]
    filters = [
        click.option("--mapping", metavar="NAME", help="Only this mapping."),
        click.option(
            "--error", metavar="CLASS", help="An error class or SQLSTATE: WriteError, 23514."
        ),
        click.option("--since", type=moment, metavar="T", help="ISO 8601, UTC if it has no zone."),
        click.option("--until", type=moment, metavar="T", help="... and before this time."),
        click.option("--status", type=click.Choice(statuses), default=default, help=status_help),
        click.option(
            "--key",
            metavar="KEY",
            help="The row's key in its source: its value, or JSON of its columns.",
        ),
    ]

    def decorate(command: F) -> Callable[..., Any]:
        @wraps(command)
        def call(**options: Any) -> Any:
            names = {field.name for field in fields(Selection)} & options.keys()
            selection = Selection(**{name: options.pop(name) for name in names})
            return command(selection=selection, **options)

        for option in reversed([*(ids if with_ids else []), *filters]):
            call = option(call)
        return call

    return decorate


@contextmanager
def dlq_service(user: str | None = None) -> Iterator[DlqService]:
    """Open the dead-letter queue for a user; what a database refuses is raised without its text."""
    file = read_config()
    plugins = read_plugins(file)
    config = file.config()
    log.configure(config.log)
    service = DlqService(config, plugins, user or user_name())
    _ = service.policies  # raises before the first row is read
    with classified_errors():
        yield service


def print_record(record: Any, lines: Iterable[str], *, as_json: bool) -> None:
    """Print a record as JSON, or its lines for people."""
    if as_json:
        print(json.dumps(record, indent=2, ensure_ascii=False, default=str))
    else:
        print_lines(lines, indent=_VALUE_COLUMN)


def record_reading(service: DlqService, database: str, dead_letter: StoredDeadLetter) -> None:
    """Add to the audit log who read the dead letter, masked."""
    if not service.note_masked(database, [dead_letter]):
        warn_unaudited(database)


def warn_unaudited(database: str) -> None:
    print(
        f"sink-runner: that you read it is not written into the audit log of {database}: the role "
        "of [databases] dsn may not add to it; see `sink-runner grants`",
        file=sys.stderr,
    )
