"""Tables on terminals of each width: no word is cut."""

import io
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table
from rich.text import Text

import sink_runner
from sink_runner.cli import audit, conflicts, dlq, quality, schedule
from sink_runner.cli.tables import print_table
from sink_runner.inspection import tables
from sink_runner.quality.report import Report, Stale
from sink_runner.writer.audit import Entry
from sink_runner.writer.conflict_store import Conflict

HEADS = ("mapping", "source column", "target column", "reader", "sees")
ROW = (
    "golden-records",
    "golden_records.jan_aadhaar_number",
    "profile_data.jan_aadhaar_number",
    "group 'smart_citizen'",
    "show_last({col}, 4, '****-****-')",
)


def printed(width: int, *rows: tuple[str, ...]) -> str:
    table = Table(title="[b]policies[/b]", title_justify="left")
    for head in HEADS:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    file = io.StringIO()
    print_table(table, Console(file=file, width=width))
    return file.getvalue()


@given(width=st.integers(20, 200))
def test_words_are_whole_at_each_width(width: int) -> None:
    text = printed(width, ROW)
    for word in {word for cell in (*HEADS, *ROW) for word in cell.split()}:
        assert word in text, word


def test_wide_terminal_has_a_table() -> None:
    assert "┃" in printed(200, ROW)


def test_narrow_terminal_has_a_paragraph_for_each_row() -> None:
    lines = printed(80, ROW, ROW).splitlines()
    assert lines[:3] == ["policies", "", "mapping        golden-records"]
    assert lines[4] == "target column  profile_data.jan_aadhaar_number"
    assert len(lines) == 1 + 2 * (1 + len(HEADS))


def test_every_table_of_the_runner_is_printed_so() -> None:
    package = Path(sink_runner.__file__).parent
    printing = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "Console().print(" in path.read_text() or "console.print(table" in path.read_text()
    }
    assert printing == {"cli/tables.py"}


@pytest.mark.parametrize("cell", ["[redacted]", "two\nlines", "", "[/b]"])
def test_cell_is_printed_as_it_is(cell: str) -> None:
    text = printed(60, (cell, *ROW[1:]))
    assert "mapping        " + cell.replace("\n", "\n" + " " * 15) in text


AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ENTRY = Entry(
    at=AT,
    event_type="batch_written",
    source="smart_warehouse",
    target="smart_citizen",
    table="public.profile_data",
    operation="upsert",
    masked=["jan_aadhaar_number", "mobile_number"],
    user=None,
    os_user=None,
    database_user=None,
    details={"mapping": "golden-records", "rows": 5000, "policy_version": 12},
)
CONFLICT = Conflict(
    id=12345,
    table="public.golden_records",
    record="6f9619ff-8b86-d011-b42d-00c04fc964ff",
    source="smart_citizen",
    target="smart_warehouse",
    type="timestamp_conflict",
    source_value=None,
    target_value=None,
    detected=AT,
    action=None,
    resolved_by=None,
    resolved=None,
    notes=None,
)
REPORT = Report(
    mapping="golden-records",
    target="smart_citizen.public.profile_data",
    counts=(),
    open_dead_letters=120,
    waiting=12,
    stale=Stale(column="updated_at", days=90, rows=1200, of=5000),
)
DEAD_LETTER = SimpleNamespace(
    dlq_id=12345,
    flow="golden-records",
    status="DISCARDED",
    created_at=AT,
    error_class="WriteError",
    sqlstate="23514",
    attempts=12,
    error_message='violates check constraint "golden_records_mobile_number_check"',
    topic="smart_warehouse.public.golden_records",
    partition=0,
    offset=123456,
    of_batch=False,
)
COUNT = SimpleNamespace(
    mapping="golden-records",
    status="SUPERSEDED",
    error_class="WriteError",
    sqlstate="23514",
    dead_letters=120,
    first=AT,
    last=AT,
)
TABLES = {
    "audit": (lambda: audit._table([ENTRY]), audit.EXTRA),
    "conflicts": (lambda: conflicts._table([("smart_warehouse", CONFLICT)]), conflicts.EXTRA),
    "quality": (lambda: quality._totals([REPORT], 30), quality.EXTRA),
    "dlq list": (
        lambda: tables.dead_letters_table([("smart_warehouse", DEAD_LETTER)]),
        dlq.EXTRA_OF_LIST,
    ),
    "dlq list --summary": (
        lambda: tables.summary_table([("smart_warehouse", COUNT)]),
        dlq.EXTRA_OF_SUMMARY,
    ),
}


@pytest.mark.parametrize("command", TABLES)
def test_table_of_a_command_fits_80_columns(command: str) -> None:
    make, extra = TABLES[command]
    file = io.StringIO()
    print_table(make(), Console(file=file, width=80), extra=extra)
    lines = [line.rstrip() for line in file.getvalue().splitlines()]
    assert "┃" in lines[2], "a paragraph for each row"
    assert max(map(len, lines)) <= 80
    assert lines[-1] == f"--wide adds {', '.join(extra)}"


@pytest.mark.parametrize("command", TABLES)
def test_wide_table_has_all_columns(command: str) -> None:
    make, extra = TABLES[command]
    file = io.StringIO()
    print_table(make(), Console(file=file, width=300), extra=extra, wide=True)
    heads = [head.strip() for head in file.getvalue().splitlines()[2].split("┃")[1:-1]]
    assert heads == [column.header for column in make().columns]
    assert {*extra} < {*heads}


def test_schedules_fit_80_columns_without_cron() -> None:
    at = "2026-03-01 12:00"
    rows = [("golden-records", "*/15 2-4 * * 1-5", "changed", at, "succeeded", at)]
    narrow = [*schedule._lines(rows, wide=False)]
    wide = [*schedule._lines(rows, wide=True)]
    assert max(map(len, narrow)) <= 80
    assert [line.split()[:2] for line in (narrow[0], wide[0])] == [
        ["NAME", "MODE"],
        ["NAME", "CRON"],
    ]
