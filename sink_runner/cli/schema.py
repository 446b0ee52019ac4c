"""``sink-runner schema``: whether the source tables still fit the mappings that read them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from ..avro.schema_cache import SchemaCache
from ..config import ConfigFile
from ..loading import discovery
from ..masking.policy import load_policies
from ..schema_check import checker, schema_files
from ..schema_check.acceptance import accept_changes
from ..schema_check.checker import Sources
from ..schema_check.schema_files import Recorded
from ..schema_check.schema_findings import Finding
from .arguments import flag, json_option, plugin_options, user_option
from .command import FAILURE, OK, Command, Group
from .configuration import chosen_mappings, read_config, read_plugins
from .tables import print_table

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

mapping_option = click.option(
    "--mapping", "names", metavar="NAME", multiple=True, help="Only this mapping; may be repeated."
)


def _folder_option(name: str, text: str) -> Callable[[F], F]:
    return click.option(name, metavar="DIR", type=click.Path(path_type=Path), help=text)


@click.group(cls=Group)
def schema() -> None:
    """Check the source tables against the mappings.

    A source table may change under a mapping. The runner checks it at start and at every new schema
    id. If a row would be harmed, it pauses that mapping alone, before anything is written, and
    tries again until the table, the policies or the plugin is corrected, or the change is accepted.

    examples:
      sink-runner schema check                  compare with tables and registry
      sink-runner schema pull schemas/          record them for checks in CI
      sink-runner schema accept golden-records  go on with an intended change
    """


@schema.command(cls=Command, exclusive=("--from-catalog", "--schemas"))
@plugin_options
@mapping_option
@flag("--from-catalog", help="Ask the databases only, not the registry.")
@_folder_option("--schemas", "Recorded schemas, instead of registry and databases.")
@_folder_option("--against", "Compare with these, not with what the mapping was planned with.")
@json_option
@flag("--strict", help="Exit with 1 for a warning, too.")
def check(
    *,
    names: tuple[str, ...],
    from_catalog: bool,
    schemas: Path | None,
    against: Path | None,
    as_json: bool,
    strict: bool,
) -> int:
    """Report what has changed, and what to do about it.

    Compares the registry's latest schemas and the source tables with the columns that each mapping
    names, with the schema it was planned with, with the columns of its target, and with the
    classification of personal columns.

    It also runs the checks that `sink-runner run` and `sink-runner batch` make before they start:
    replica identity, publication, row-level security, the target's key and columns, types that
    can't be cast, the privileges of each role, the SQL of lookups and queries, replication origins
    and, unless --from-catalog is given, the topic. Each finding ends with the statement to paste.

      refused  the mapping does not start, or pauses: a setting is wrong; a column
               that it names is gone or renamed, was narrowed, or has another
               type or meaning; the primary key changed; a column looks personal
               and is not classified ([schema] strict)
      warning  rows may become dead letters: the target's column is narrower, a
               required column may be NULL now; no schema is recorded
      ok       a new column that no mapping reads, a wider type

    The exit code is 1 if a mapping is refused.

    examples:
      sink-runner schema check --mapping golden-records
      sink-runner schema check --json

    in CI, with recorded schemas and no stack, or for a migrated database:
      sink-runner schema check --schemas schemas/
      sink-runner schema check --from-catalog --against schemas/
    """
    file = read_config()
    plugins = read_plugins(file)
    chosen = chosen_mappings(names, plugins)
    sources = _sources(file, from_catalog=from_catalog, schemas=schemas, against=against)
    beside = discovery.streaming(plugins.values())
    found = {
        name: checker.check_start(name, mapping, sources, beside)
        for name, mapping in _progress("checking", chosen.items())
    }
    if as_json:
        print(json.dumps([checker.as_json(*pair) for pair in found.items()], indent=2))
    else:
        print_table(_table(found))
    bad = {"refused", "warning"} if strict else {"refused"}
    return FAILURE if any(one.severity in bad for all_ in found.values() for one in all_) else OK


def _table(found: Mapping[str, list[Finding]]) -> Table:
    made = Table(title="schemas", title_justify="left")
    for head in ("mapping", "result", "finding"):
        made.add_column(head, overflow="fold")
    for name, findings in found.items():
        if not findings:
            made.add_row(name, "ok", "")
        for finding in findings:
            origin = f" ({finding.origin})" if finding.origin else ""
            advice = f"\n-> {finding.advice}" if finding.advice else ""
            made.add_row(name, finding.severity, escape(finding.problem + origin + advice))
    return made


def _sources(
    file: ConfigFile, *, from_catalog: bool, schemas: Path | None, against: Path | None
) -> Sources:
    settings, config = file.policies(), None if schemas else file.config()
    ask = config is not None and not from_catalog
    return Sources(
        policies=load_policies(settings.directory, settings.key),
        strict=file.schema().strict,
        config=config,
        registry=SchemaCache(config.registry) if config is not None and ask else None,
        recorded=Recorded(folder=schemas) if schemas else None,
        against=Recorded(folder=against) if against else None,
    )


@schema.command()
@plugin_options
@mapping_option
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@flag("--from-catalog", help="As the databases have them.")
def pull(*, names: tuple[str, ...], folder: Path, from_catalog: bool) -> int:
    """Record the schemas of the mappings' sources.

    Writes <topic>-value.avsc and <topic>-key.avsc to DIR, for the source of each mapping that is
    on, as the registry has them. With --from-catalog they are those of the database's catalog, with
    the lengths of the types, which the registry does not have.

    examples:
      sink-runner schema pull schemas/
      sink-runner schema pull schemas/ --from-catalog --mapping golden-records
    """
    file = read_config()
    config = file.config()
    schemas = SchemaCache(config.registry)
    silent = []
    chosen = chosen_mappings(names, read_plugins(file))
    for mapping in _progress("pulling", chosen.values()):
        source = mapping.source_table
        if from_catalog:
            found = schema_files.of_catalog(config, source)
        else:
            found = schema_files.of_registry(schemas, source) if mapping.streaming else {}
            silent += [] if found or not mapping.streaming else [mapping.source]
        for path in schema_files.write(folder, found):
            print(path)
    for name in silent:
        print(f"sink-runner: the registry has no schema of {name} yet", file=sys.stderr)
    return FAILURE if silent else OK


@schema.command()
@click.argument("name")
@click.option("--id", "schema_id", type=int, metavar="N", help="A schema of the registry.")
@user_option("Who accepts it.")
def accept(*, name: str, schema_id: int | None, user: str) -> int:
    """Continue with an intended change.

    The mapping is planned with the source table as it is now, and a running mapping continues
    automatically. A column that is gone is NULL from then on; to keep its values in the target,
    remove it from the plugin instead. With --id the events of that schema are read as they are,
    too. A column that looks personal can't be accepted: classify it.

    examples:
      sink-runner schema accept golden-records
      sink-runner schema accept golden-records --id 57
    """
    file = read_config()
    config = file.config()
    mapping = chosen_mappings([name], read_plugins(file))[name]
    policies = load_policies(config.policies.directory, config.policies.key)
    findings = accept_changes(name, mapping, config, policies, schema_id, user=user)
    for finding in findings:
        print(f"accepted: {finding.problem}")
    if not findings:
        print(f"nothing had to be accepted for {name}")
    return OK


def _progress(title: str, work: Iterable[T]) -> Iterable[T]:
    """Show a bar on stderr, where no program reads, while the work is done."""
    return track([*work], title, console=Console(stderr=True), transient=True)
