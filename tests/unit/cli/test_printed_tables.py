"""Printed tables never cut a word, at any width of the terminal."""

import io
import re
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table
from rich.text import Text

import sink_runner
from sink_runner.cli import audit, conflicts, dlq, plugins, policies, quality, schedule, schema
from sink_runner.cli.tables import print_lines, print_table
from sink_runner.inspection import tables
from sink_runner.masking.lineage import Line
from sink_runner.masking.policy import ColumnName
from sink_runner.masking.principals import Principal
from sink_runner.quality.report import Count, Report, Stale
from sink_runner.schema_check.schema_findings import Change, Finding, Severity
from sink_runner.writer.audit import Entry
from sink_runner.writer.conflict_store import Conflict

HEADERS = ("mapping", "source column", "target column", "reader", "sees")
ROW = (
    "golden-records",
    "golden_records.jan_aadhaar_number",
    "profile_data.jan_aadhaar_number",
    "group 'smart_citizen'",
    "show_last({col}, 4, '****-****-')",
)


def render(width: int, *rows: tuple[str, ...]) -> str:
    table = Table(title="[b]policies[/b]", title_justify="left")
    for header in HEADERS:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    file = io.StringIO()
    print_table(table, Console(file=file, width=width))
    return file.getvalue()


@given(width=st.integers(20, 200))
def test_no_word_is_cut_at_any_width(width: int) -> None:
    text = render(width, ROW)
    for word in {word for cell in (*HEADERS, *ROW) for word in cell.split()}:
        assert word in text, word


def test_wide_terminal_has_a_table() -> None:
    assert "┃" in render(200, ROW)


def test_narrow_terminal_has_a_paragraph_for_each_row() -> None:
    lines = render(80, ROW, ROW).splitlines()
    assert lines[:3] == ["policies", "", "mapping        golden-records"]
    assert lines[4] == "target column  profile_data.jan_aadhaar_number"
    assert len(lines) == 1 + 2 * (1 + len(HEADERS))


def test_all_tables_use_print_table() -> None:
    package = Path(sink_runner.__file__).parent
    printing = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "Console().print(" in path.read_text() or "console.print(table" in path.read_text()
    }
    assert printing == {"cli/tables.py"}


def test_long_text_of_a_paragraph_is_wrapped() -> None:
    lines = render(60, ("citizens", "the column is missing " * 5, *ROW[2:])).splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[3:5] == [
        "source column  the column is missing the column is missing",
        "               the column is missing the column is missing",
    ]


@pytest.mark.parametrize("cell", ["[redacted]", "two\nlines", "", "[/b]"])
def test_cell_is_printed_literally(cell: str) -> None:
    text = render(60, (cell, *ROW[1:]))
    assert "mapping        " + cell.replace("\n", "\n" + " " * 15) in text


DAY = date(2026, 3, 1)
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
FINDING = Finding(
    mapping="eligibility-snapshots",
    change=Change.REMOVED,
    severity=Severity.REFUSED,
    problem="column smart_citizen.public.service_applications.citizen_id is missing",
    advice="add it to the source table, or remove it from the mapping, and start the runner again",
    origin="schema 12 of the registry",
)
POLICY_LINE = Line(
    mapping="eligibility-snapshots",
    source=ColumnName("smart_warehouse", "eligibility", "eligibility_snapshots", "evaluated_at"),
    target=ColumnName("smart_citizen", "public", "eligibility_hints", "applicable_schemes"),
    principal=Principal(groups=frozenset({"smart_citizen"})),
    tags=frozenset({"PII"}),
    fault="column evaluated_at is personal and has no policy",
)
POLICIES = SimpleNamespace(version=12)
SIDES = replace(
    CONFLICT,
    source_value={"full_name": "A made-up name of some length", "district_id": 12},
    target_value={"full_name": "Another name that is a bit longer", "district_id": 7},
    notes="the citizen called and said which name is right",
)
REPORT_WITH_COUNTS = replace(
    REPORT, counts=(Count(rule="updated_at not before created_at", column="", rows=12, last=DAY),)
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
def test_table_of_command_fits_80_columns(command: str) -> None:
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
    headers = [header.strip() for header in file.getvalue().splitlines()[2].split("┃")[1:-1]]
    assert headers == [column.header for column in make().columns]
    assert {*extra} < {*headers}


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


OTHER_TABLES = {
    "conflicts show": lambda: conflicts._sides("smart_warehouse", SIDES),
    "policies show": lambda: policies._table([POLICY_LINE], POLICIES),
    "quality, by rule": lambda: quality._rules([REPORT_WITH_COUNTS]),
    "schema check": lambda: schema._table({"eligibility-snapshots": [FINDING]}),
}


@pytest.mark.parametrize("command", OTHER_TABLES)
def test_other_table_cuts_no_word_at_80_columns(command: str) -> None:
    file = io.StringIO()
    print_table(OTHER_TABLES[command](), Console(file=file, width=80))
    text = file.getvalue()
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    for column in OTHER_TABLES[command]().columns:
        for word in " ".join(map(str, column.cells)).split():
            assert word in text, word


def test_every_function_that_returns_table_is_tested() -> None:
    package, source = Path(sink_runner.__file__).parent, Path(__file__).read_text()
    functions = {
        f"{path.stem}.{name}("
        for folder in ("cli", "inspection")
        for path in (package / folder).glob("*.py")
        if "from rich.table import Table" in path.read_text()
        for name in re.findall(r"def (\w+)\([^)]*\) -> Table:", path.read_text())
    }
    helpers = {f"{tables.__name__.rpartition('.')[2]}._table("}
    assert {call for call in functions if call not in source} == helpers


PLUGIN = SimpleNamespace(
    name="eligibility-snapshots",
    status="broken",
    version="1.0",
    mapping=SimpleNamespace(
        source="smart_warehouse.eligibility.eligibility_snapshots",
        target="smart_warehouse.analytics.feedback_analytics",
        streaming=False,
    ),
    hooks=["sink_mapping", "sink_filter"],
    errors=["the target column applicable_schemes is jsonb, and the mapping declares it as text[]"],
)


def test_list_of_plugins_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines(plugins._table([PLUGIN], {}, wide=False))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "NAME                   STATUS  TARGET",
        "eligibility-snapshots  broken  smart_warehouse.analytics.feedback_analytics",
        "    batch only",
        "    fault: the target column applicable_schemes is jsonb, and the mapping",
        "        declares it as text[]",
    ]


def test_wide_list_has_one_line_for_each_plugin(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines(plugins._table([PLUGIN], {}, wide=True), wide=True)
    header, line, *notes = capsys.readouterr().out.splitlines()
    assert header.split() == ["NAME", "STATUS", "VERSION", "TARGET", "HOOKS", "SOURCE"]
    assert line.split()[2:] == ["1.0", PLUGIN.mapping.target, "sink_filter", PLUGIN.mapping.source]
    assert notes == ["    batch only", f"    fault: {PLUGIN.errors[0]}"]
