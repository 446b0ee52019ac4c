"""Export dead letters as JSON lines or CSV, masked like all other output."""

from __future__ import annotations

import csv
import json
import os
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkstemp
from typing import Any, Protocol, TextIO

from ..dlq import stored_dead_letters as dead_letters
from ..dlq.stored_dead_letters import Connection, StoredDeadLetter, Wanted
from ..errors import ConfigError
from .service import DlqService
from .tables import progress

COLUMNS = (
    *("id", "flow", "topic", "partition", "offset", "error_class", "sqlstate", "error_message"),
    *("stack_trace", "key_id", "plugin_version", "attempts", "status", "created_at"),
    *("op", "key", "before", "after", "unreadable"),
)
_BLANK = " \t\r\n\v\f\0\xa0\u200b\u3000\ufeff"


class Writes(Protocol):
    """Writes a record."""

    def __call__(self, record: dict[str, Any]) -> None: ...


@dataclass(slots=True)
class Exported:
    """The result of an export."""

    dead_letters: int = 0
    without: dict[str, str] = field(default_factory=dict)
    """Dead letters that were requested unmasked and cannot be read, with the reason."""
    unaudited: set[str] = field(default_factory=set)
    """The databases whose audit log could not be written."""


def export(
    service: DlqService,
    wanted: Wanted,
    *,
    ids: Sequence[str],
    key: str | None,
    as_csv: bool,
    output: Path | None,
    clear: bool,
) -> Exported:
    """Export dead letters; the audit log gets an entry before they are read."""
    done = Exported()
    with _opened(output) as file, progress() as bar:
        task, write = bar.add_task("exporting", total=None), _writer(file, as_csv=as_csv)
        for database, connection, here in service.search(wanted, ids, key):
            after = 0
            while page := dead_letters.find_after(connection, here, after):
                read = _in_clear if clear else _masked
                for record in read(service, database, page, connection, done):
                    write(record)
                after = page[-1].dlq_id
                done.dead_letters += len(page)
                bar.update(task, completed=done.dead_letters)
    return done


def _masked(
    service: DlqService,
    database: str,
    page: list[StoredDeadLetter],
    connection: Connection,
    done: Exported,
) -> Iterator[dict[str, Any]]:
    if not service.note_masked(database, page, connection):
        done.unaudited.add(database)
    for dead_letter in page:
        yield service.readable(database, dead_letter)


def _in_clear(
    service: DlqService,
    database: str,
    page: list[StoredDeadLetter],
    connection: Connection,
    done: Exported,
) -> Iterator[dict[str, Any]]:
    """Yield unmasked records; an unreadable one has no payload and is not audited as read."""
    faults = service.faults(page)
    service.allow_clear(database, [one for one in page if one.dlq_id not in faults], connection)
    for dead_letter in page:
        fault = faults.get(dead_letter.dlq_id)
        if fault is None:
            yield service.readable(database, dead_letter, clear=True)
        else:
            done.without[f"{database}/{dead_letter.dlq_id}"] = fault
            yield dead_letter.as_json(database) | {"unreadable": fault}


def _writer(file: TextIO, *, as_csv: bool) -> Writes:
    if not as_csv:
        return lambda record: print(json.dumps(record, ensure_ascii=False, default=str), file=file)
    rows = csv.DictWriter(file, COLUMNS)
    rows.writeheader()

    def write(record: dict[str, Any]) -> None:
        flat = {name: _cell(value) for name, value in record.items()}
        rows.writerow(flat)

    return write


def _cell(value: Any) -> Any:
    """Return the value of a CSV cell; text that a spreadsheet would compute is quoted."""
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return "'" + value if isinstance(value, str) and _is_formula(value) else value


def _is_formula(text: str) -> bool:
    """Return whether a spreadsheet may compute the text, also after blanks or in full width.

    Some spreadsheets drop a tab or line end at the start and compute the rest.
    """
    first = unicodedata.normalize("NFKC", text.lstrip(_BLANK)[:1])
    return text[:1] in {"\t", "\r", "\n"} or first[:1] in {"=", "+", "-", "@", "\u2212"}


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """Open the file for its owner only; without one, use standard output.

    A new file replaces an older one when it is complete: the older one may be readable by others,
    and stays unchanged if the export is interrupted.
    """
    if output is None:
        yield sys.stdout
        return
    if output.is_symlink() and output.is_file():  # /dev/stdout, too, may be a link to one
        output = output.resolve()
    with _file_errors(output):
        descriptor, fresh = _created(output)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
        if fresh:
            with _file_errors(output):
                Path(fresh).replace(output)
    except BaseException:
        if fresh:
            Path(fresh).unlink(missing_ok=True)
        raise


def _created(output: Path) -> tuple[int, str | None]:
    """Return a file to write to, and its name if it is to replace the older one."""
    if output.exists() and not output.is_file():  # a pipe or device cannot be replaced
        return os.open(output, os.O_WRONLY), None
    return mkstemp(dir=output.parent, prefix=".sink-runner-")  # 0600


@contextmanager
def _file_errors(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        raise ConfigError(f"cannot write {output}: {fault.strerror}") from fault
