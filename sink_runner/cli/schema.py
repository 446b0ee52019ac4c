"""``sink-runner schema``: do the source tables still fit the mappings that read them?"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from ..config import ConfigFile
from ..loading import discovery
from ..plugin import TableMapping
from .arguments import add_person
from .command import (
    FAILURE,
    OK,
    Subparsers,
    add_choice_options,
    add_command,
    plugins_with_mapping,
    read_config,
    read_plugins,
)
from .tables import print_table

if TYPE_CHECKING:
    from ..schema_check.findings import Finding
    from ..schema_check.report import Sources

TEACHING = """\
A source table may change under a mapping.  The runner looks at it at start and at every new
schema id; where a row would be harmed it pauses that mapping alone, before anything is written,
and tries again until the table, the policies or a person has mended it.

examples:
  sink-runner schema check                       the tables and the registry as they are now
  sink-runner schema pull schemas/               record them, for a check without a stack
  sink-runner schema accept golden-records       the change is meant: go on with it
"""
CHECKING = """\
Holds the registry's latest schemas and the source tables against the columns that each mapping
names, what it was planned with, its target's columns and the classification of personal columns.

It also runs the checks that `sink-runner run` and `sink-runner batch` make before they start:
replica identity, publication, row-level security, the target's key and columns, types that can't
be cast, the privileges of each role, the SQL of lookups and queries, replication origins and,
unless --from-catalog is given, the topic.  Each finding ends with the statement to paste.

refused   the mapping does not start or pauses: the set-up is not what it needs; a column that it
          names is gone or renamed, was narrowed, or has another type or meaning; the primary key
          changed; a column looks personal and is not classified ([schema] strict)
warning   rows may become dead letters: the target's column is narrower, a required column may be
          NULL now; a mapping's schema is not recorded
ok        a new column that nobody reads, a wider type

The exit code is 1 if anything is refused; with --strict a warning is enough.

examples:
  sink-runner schema check --mapping golden-records
  sink-runner schema check --json
  sink-runner schema check --schemas schemas/                     in CI: recorded schemas, no stack
  sink-runner schema check --from-catalog --against schemas/      in CI: a migrated database
                                                                  against what was recorded
"""
PULLING = """\
Writes <topic>-value.avsc and <topic>-key.avsc for the source of each mapping that is on, as the
registry has them; with --from-catalog as the database's catalog has them, with the lengths of
the types, which a registry does not tell.

examples:
  sink-runner schema pull schemas/
  sink-runner schema pull schemas/ --from-catalog --mapping golden-records
"""
ACCEPTING = """\
For a change that is meant.  What the source table is now becomes what the mapping is planned
with, and a running mapping goes on by itself.  A column that is gone is NULL from then on; to keep
what the target has of it, take it out of the plugin instead.  With --id the events of that schema
are read as they are, too.  A column that looks personal can't be accepted: classify it.

examples:
  sink-runner schema accept golden-records
  sink-runner schema accept golden-records --id 57
"""


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "schema",
        summary="check the source tables against the mappings; record their schemas",
        teaching=TEACHING,
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    _add_check(actions)
    _add_pull(actions)
    _add_accept(actions)


def _add_check(actions: Subparsers) -> None:
    parser = add_command(
        actions, "check", summary="say what has changed, and what to do", teaching=CHECKING
    )
    add_choice_options(parser)
    _add_mapping(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--from-catalog", action="store_true", help="ask the databases only, and no registry"
    )
    where.add_argument(
        "--schemas", metavar="DIR", type=Path, help="recorded schemas; nothing else is asked"
    )
    parser.add_argument(
        "--against",
        metavar="DIR",
        type=Path,
        help="compare with these, and not with what the mapping was planned with",
    )
    parser.add_argument("--json", action="store_true", help="the findings, for programs")
    parser.add_argument("--strict", action="store_true", help="fail at a warning, too")
    parser.set_defaults(run=check)


def _add_pull(actions: Subparsers) -> None:
    parser = add_command(
        actions, "pull", summary="record the schemas of the mappings' sources", teaching=PULLING
    )
    add_choice_options(parser)
    _add_mapping(parser)
    parser.add_argument("folder", metavar="DIR", type=Path, help="made if it is not there")
    parser.add_argument("--from-catalog", action="store_true", help="as the databases have them")
    parser.set_defaults(run=pull)


def _add_accept(actions: Subparsers) -> None:
    parser = add_command(
        actions, "accept", summary="go on with a change that is meant", teaching=ACCEPTING
    )
    parser.add_argument("name", metavar="NAME", help="the mapping")
    parser.add_argument("--id", type=int, metavar="N", help="a schema of the registry")
    add_person(parser, "who accepts it ($USER)")
    parser.set_defaults(run=accept, only=[], without=[])


def _add_mapping(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mapping", metavar="NAME", action="append", default=[], help="this mapping (default: all)"
    )


# -- check ---------------------------------------------------------------------------------------


def check(args: argparse.Namespace) -> int:
    # PostgreSQL's driver and the decoder are not loaded by the commands that need neither.
    from ..schema_check import report  # noqa: PLC0415

    file = read_config(args)
    plugins = read_plugins(args, file)
    chosen = _chosen(args.mapping, plugins)
    sources, beside = _sources(args, file), discovery.streaming(plugins.values())
    found = {
        name: report.check_start(name, mapping, sources, beside)
        for name, mapping in track(chosen.items(), "checking", console=_errors(), transient=True)
    }
    if args.json:
        print(json.dumps([report.as_json(*pair) for pair in found.items()], indent=2))
    else:
        print_table(table(found))
    bad = {"refused", "warning"} if args.strict else {"refused"}
    return FAILURE if any(one.severity in bad for all_ in found.values() for one in all_) else OK


def table(found: Mapping[str, list[Finding]]) -> Table:
    made = Table(title="schemas", title_justify="left")
    for head in ("mapping", "result", "what was found, and what to do"):
        made.add_column(head, overflow="fold")
    for name, findings in found.items():
        if not findings:
            made.add_row(name, "ok", "")
        for finding in findings:
            origin = f" ({finding.origin})" if finding.origin else ""
            advice = f"\n-> {finding.advice}" if finding.advice else ""
            made.add_row(name, finding.severity, escape(finding.problem + origin + advice))
    return made


def _sources(args: argparse.Namespace, file: ConfigFile) -> Sources:
    from ..avro.schema_registry import SchemaRegistry  # noqa: PLC0415
    from ..masking.policy import load_policies  # noqa: PLC0415
    from ..schema_check.report import Recorded, Sources  # noqa: PLC0415

    settings, config = file.policies(), None if args.schemas else file.config()
    ask = config is not None and not args.from_catalog
    return Sources(
        policies=load_policies(settings.directory, settings.key),
        strict=file.schema().strict,
        config=config,
        registry=SchemaRegistry(config.registry) if config is not None and ask else None,
        recorded=Recorded(folder=args.schemas) if args.schemas else None,
        against=Recorded(folder=args.against) if args.against else None,
    )


# -- pull and accept -----------------------------------------------------------------------------


def pull(args: argparse.Namespace) -> int:
    from ..avro.schema_registry import SchemaRegistry  # noqa: PLC0415
    from ..schema_check import pull as pulling  # noqa: PLC0415

    file = read_config(args)
    config = file.config()
    schemas = SchemaRegistry(config.registry)
    silent = []
    for mapping in track(
        _chosen(args.mapping, read_plugins(args, file)).values(),
        "pulling",
        console=_errors(),
        transient=True,
    ):
        source = mapping.source_table
        if args.from_catalog:
            found = pulling.of_catalog(config, source)
        else:
            found = pulling.of_registry(schemas, source) if mapping.streaming else {}
            silent += [] if found or not mapping.streaming else [mapping.source]
        for path in pulling.write(args.folder, found):
            print(path)
    for name in silent:
        print(f"sink-runner: the registry has no schema of {name} yet", file=sys.stderr)
    return FAILURE if silent else OK


def accept(args: argparse.Namespace) -> int:
    from ..masking.policy import load_policies  # noqa: PLC0415
    from ..schema_check import accept as accepting  # noqa: PLC0415

    file = read_config(args)
    config = file.config()
    ((name, mapping),) = _chosen([args.name], read_plugins(args, file)).items()
    policies = load_policies(config.policies.directory, config.policies.key)
    findings = accepting.accept(name, mapping, config, policies, args.id, user=args.user)
    for finding in findings:
        print(f"accepted: {finding.problem}")
    if not findings:
        print(f"nothing had to be accepted for {name}")
    return OK


def _errors() -> Console:
    """Progress goes where programs do not read."""
    return Console(stderr=True)


def _chosen(names: Sequence[str], plugins: dict[str, discovery.Plugin]) -> dict[str, TableMapping]:
    """The mappings named, else all that are on."""
    chosen = plugins_with_mapping(names, plugins)
    return {plugin.name: plugin.mapping for plugin in chosen if plugin.mapping is not None}
