"""Letters for other programs: JSON lines or CSV, masked like everything else that is shown."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

from ..errors import ConfigError
from . import letters
from .letters import Wanted
from .tables import progress
from .workbench import Workbench

COLUMNS = (
    *("id", "flow", "topic", "partition", "offset", "error_class", "sqlstate", "error_message"),
    *("stack_trace", "key_id", "plugin_version", "attempts", "status", "created_at"),
    *("op", "key", "before", "after", "unreadable"),
)


class Writes(Protocol):
    """What puts a record on a line."""

    def __call__(self, record: dict[str, Any]) -> None: ...


def export(
    bench: Workbench,
    wanted: Wanted,
    *,
    ids: Sequence[str],
    key: str | None,
    as_csv: bool,
    output: Path | None,
    clear: bool,
) -> int:
    """Write the letters and return how many; what is read in clear is written down before."""
    count = 0
    with _opened(output) as file, progress() as bar:
        task, write = bar.add_task("exporting", total=None), _writer(file, as_csv=as_csv)
        for database, connection, here in bench.search(wanted, ids, key):
            after = 0
            while page := letters.find_after(connection, here, after):
                if clear:
                    bench.allow_clear(database, page, connection)
                for letter in page:
                    write(bench.shown(database, letter, clear=clear))
                after = page[-1].dlq_id
                count += len(page)
                bar.update(task, completed=count)
    return count


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
    """A value of its own; a text that a spreadsheet would compute is quoted."""
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@"):
        return "'" + value
    return value


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """The file, which nobody else may read; standard output is the caller's own."""
    if output is None:
        yield sys.stdout
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as fault:
        raise ConfigError(f"cannot write {output}: {fault.strerror}") from fault
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        yield file
