"""Reference of metrics, log events, errors, control tables, Makefile targets and packages."""

import ast
import inspect
import re
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import psycopg.errors
from reference_text import ROOT, docstring_after, method_calls, page, sentence, table

from sink_runner import errors
from sink_runner.model.outcome import Outcome
from sink_runner.postgres import migrations, sqlstates

_DESCRIPTIONS = tomllib.loads(
    Path(__file__).with_name("descriptions.toml").read_text(encoding="utf-8")
)
_LEVELS = ("debug", "info", "warning", "error", "exception", "critical")
_METRICS = ("counter", "gauge", "gauge_table", "histogram")

# -- operation ------------------------------------------------------------------------------------


def metrics_page() -> str:
    rows = {}
    for _, call, kind in method_calls(_METRICS):
        name, meaning, *_ = (one.value for one in call.args[:2] if isinstance(one, ast.Constant))
        assert isinstance(name, str)
        suffix = "_total" if kind == "counter" else ""
        rows[name] = (
            f"`{name}{suffix}`",
            kind.removesuffix("_table"),
            _labels(call),
            str(meaning),
        )
    return page(
        "Metrics",
        "`/metrics` of `sink-runner run` has these, at the address in `[health]`. Alert rules: "
        "[runbooks](../runbooks/README.md).",
        table(("metric", "type", "labels", "meaning"), (rows[name] for name in sorted(rows))),
        "## Outcomes of events",
        "Each event that is read has exactly one outcome in `sink_events_total`. A deferred event "
        "is counted once more, in `sink_dead_letters_settled_total`, when it is settled.",
        "\n".join(f"- `{one.value}`: {_documented(one)}" for one in Outcome),
    )


def _labels(call: ast.Call) -> str:
    match call.args:
        case [_, _, ast.Tuple(elts=elements)]:
            return ", ".join(f"`{ast.literal_eval(one)}`" for one in elements)
        case [_, _, labels]:
            return f"`{ast.unparse(labels)}`"
        case _:
            return ""


def log_events() -> dict[str, tuple[set[str], set[str]]]:
    """Return the levels and the fields of each log event."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for _, call, level in method_calls((*_LEVELS, "log_errors")):
        match call.args:
            case [ast.Constant(value=str(event)), *_] | [_, ast.Constant(value=str(event)), *_]:
                levels, fields = found.setdefault(event, (set(), set()))
                levels.add({"exception": "error", "log_errors": "error"}.get(level, level))
                fields |= {one.arg for one in call.keywords if one.arg}
    return found


def log_events_page() -> str:
    events = log_events()
    rows = [
        (
            f"`{event}`",
            ", ".join(sorted(levels)),
            ", ".join(f"`{field}`" for field in sorted(fields)),
            _DESCRIPTIONS["log_events"].get(event, ""),
        )
        for event, (levels, fields) in sorted(events.items())
    ]
    return page(
        "Log events",
        "`[log]` chooses between JSON and text. Events of a mapping also have the field "
        "`mapping`. No field holds a value of a row.",
        table(("event", "level", "fields", "meaning"), rows),
    )


# -- errors ---------------------------------------------------------------------------------------


def error_types() -> list[type[errors.SinkError]]:
    """Return the error classes of the runner, each after its base."""
    return list(_with_subclasses(errors.SinkError))


def _with_subclasses(kind: type[errors.SinkError]) -> Iterator[type[errors.SinkError]]:
    yield kind
    for one in kind.__subclasses__():
        if one.__module__ == errors.__name__:
            yield from _with_subclasses(one)


def errors_page() -> str:
    rows = [
        (_error_link(kind), f"`{kind.__bases__[0].__name__}`", sentence(kind.__doc__))
        for kind in error_types()
    ]
    kinds = [(f"`{kind.value}`", _documented(kind)) for kind in sqlstates.ErrorKind]
    states = [
        *((f"{code}xxx", "", kind.value) for code, kind in sqlstates.CLASSES.items()),
        *((code, _state_name(code), kind.value) for code, kind in sqlstates.STATES.items()),
        *(
            (code, f"raised by `{function}`", kind.value)
            for (code, function), kind in sqlstates.BY_FUNCTION.items()
        ),
    ]
    return page(
        "Errors",
        "No text of these errors holds a value of a row.",
        table(("class", "base", "meaning"), rows),
        "## SQLSTATE",
        "What PostgreSQL reports is classified by its SQLSTATE. A code of five characters comes "
        "before its class, and the function of the server that raised it comes before both. A code "
        "that is not listed is transient.",
        table(("kind", "what happens"), kinds),
        table(("SQLSTATE", "name", "kind"), sorted(states)),
    )


def _error_link(kind: type[errors.SinkError]) -> str:
    name = f"`{kind.__name__}`"
    runbook = ROOT / "docs" / "runbooks" / f"{kind.__name__}.md"
    return f"[{name}](../runbooks/{kind.__name__}.md)" if runbook.exists() else name


def _documented(member: Enum) -> str:
    (body,) = ast.parse(inspect.getsource(type(member))).body
    assert isinstance(body, ast.ClassDef)
    for node, after in zip(body.body, [*body.body[1:], None], strict=True):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]) if name == member.name:
                return docstring_after(after)
    return ""


def _state_name(code: str) -> str:
    return psycopg.errors.lookup(code).__name__


# -- tables ---------------------------------------------------------------------------------------


class ColumnOfTable(NamedTuple):
    name: str
    type: str
    comment: str


_SEMICOLON = "\0"
"""Stands for a semicolon of a comment, which does not end the statement."""
_CREATE = re.compile(
    r"^CREATE TABLE (?:IF NOT EXISTS )?sink\.(\w+) \(\n(.*?)^\)", re.DOTALL | re.MULTILINE
)
_ALTER = re.compile(r"^ALTER TABLE sink\.(\w+)\b(.*?);[^\n]*$", re.DOTALL | re.MULTILINE)
_COLUMN = re.compile(
    r"""^\s+"?([a-z_]+)"?\s+
    (char\(\d\)|[a-z0-9]+(?:\[\])?)
    [^-\n]*?(?:,|$|(?=\s*--))\s*(?:--\s*(.*))?$""",
    re.MULTILINE | re.VERBOSE,
)
_ADDED = re.compile(
    r"ADD COLUMN (?:IF NOT EXISTS )?\"?([a-z_]+)\"? ([a-z0-9]+)[^,;\n]*[,;]?(?: *-- *(.*))?"
)


def tables() -> dict[str, list[ColumnOfTable]]:
    """Return the columns of each table as the migrations declare them."""
    found: dict[str, list[ColumnOfTable]] = {}
    for name, body in _CREATE.findall(migrations._CREATE):  # noqa: SLF001
        found[name] = _columns(_COLUMN, body)
    for migration in migrations.migrations():
        sql = re.sub(r"--.*", lambda one: one[0].replace(";", _SEMICOLON), migration.sql.decode())
        for name, body in _CREATE.findall(sql):
            if "LIKE sink." not in body:
                found[name] = _columns(_COLUMN, body)
        for statement in _ALTER.finditer(sql):
            found[statement[1]] += _columns(_ADDED, statement[0])
    return found


def _columns(pattern: re.Pattern[str], sql: str) -> list[ColumnOfTable]:
    rows = pattern.findall(sql)
    return [ColumnOfTable(*(part.strip().replace(_SEMICOLON, ";") for part in row)) for row in rows]


def tables_page() -> str:
    return page(
        "Control tables",
        "The runner's own tables are in schema `sink` of each target database. Numbered migrations "
        "create and upgrade them ([upgrades](../guide/databases.md#upgrade-of-running-runners)); "
        "[retention](../guide/operations.md#retention) limits their size. "
        "A mapping with a derived target also has `sink.candidates_<mapping>`, which stores all "
        "source rows that compete for the target's rows.",
        *(
            f"## `sink.{name}`\n\n{_DESCRIPTIONS['tables'].get(name, '')}\n\n"
            + table(
                ("column", "type", "note in the migration"),
                ((f"`{one.name}`", f"`{one.type}`", one.comment) for one in columns),
            )
            for name, columns in sorted(tables().items())
        ),
        "## Views of the specification",
        "The databases of the local stack also have these views in schema `public`, under the "
        "names of the specification. `compose/sql/common/80-specification.sql` creates them.",
        *(
            f"### `public.{view.name}`\n\n{_DESCRIPTIONS['views'].get(view.name, '')} It reads "
            f"`sink.{view.table}`.\n\n"
            + table(("column", "type"), ((f"`{one}`", f"`{kind}`") for one, kind in view.columns))
            for view in views()
        ),
    )


# -- views ----------------------------------------------------------------------------------------


class View(NamedTuple):
    name: str
    table: str
    """The control table that it reads."""
    columns: list[tuple[str, str]]


_VIEWS = ROOT / "compose" / "sql" / "common" / "80-specification.sql"
_VIEW = re.compile(
    r"^CREATE OR REPLACE FUNCTION public\.(\w+)\(\) RETURNS TABLE \((.*?)\)\s+LANGUAGE"
    r".*?FROM sink\.(\w+).*?^CREATE OR REPLACE VIEW public\.\1 ",
    re.DOTALL | re.MULTILINE,
)


def views() -> list[View]:
    """Return the views of the specification, in the order of their names."""
    found = _VIEW.findall(_VIEWS.read_text(encoding="utf-8"))
    return sorted(
        View(name, source, re.findall(r'"?(\w+)"? ([A-Z]+(?: \[\])?)(?:,|\s*$)', columns))
        for name, columns, source in found
    )


# -- make -----------------------------------------------------------------------------------------


def make_page() -> str:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):.*?## (.*)$", text, re.MULTILINE)
    return page(
        "Makefile targets",
        table(("command", "what it does"), ((f"`make {name}`", what) for name, what in targets)),
    )


# -- packages --------------------------------------------------------------------------------------


def layers() -> list[list[str]]:
    """Return the packages and modules of each layer, the highest first, as `setup.cfg` has them."""
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    text = parser["importlinter:contract:layers"]["layers"]
    return [[name.strip() for name in line.split("|")] for line in text.strip().splitlines()]


def packages_page() -> str:
    rows = [
        (str(number), f"`{name}`", _summary(name))
        for number, names in enumerate(layers(), start=1)
        for name in names
    ]
    return page(
        "Packages",
        "A package or module of `sink_runner` imports only those of layers with a higher number.",
        table(("layer", "package", "what it does"), rows),
    )


def _summary(name: str) -> str:
    path = ROOT / "sink_runner" / name
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return sentence(ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))))
