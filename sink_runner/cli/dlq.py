"""``sink-runner dlq``: list, show, explain and export dead letters."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from ..dlq.stored_dead_letters import STATUSES
from ..inspection import tables
from ..inspection.explain import explain as explain_dead_letter
from ..inspection.export import export as export_dead_letters
from .arguments import flag, json_option, most_option, user_option, wide_option
from .command import FAILURE, OK, Group
from .dlq_decide import discard, replay, rotate_keys
from .dlq_options import (
    ALL,
    Selection,
    dlq_service,
    print_record,
    record_reading,
    selection_options,
    warn_unaudited,
)
from .tables import print_table

EXTRA_OF_LIST = ["failed", "tries", "why", "from"]
EXTRA_OF_SUMMARY = ["first", "last"]
"""Columns that --wide adds."""

reader_option = user_option("The user that the masking policies know you as.")
clear_option = flag("--clear", help="Unmasked, where a policy allows it; audited.")


@click.group(cls=Group)
def dlq() -> None:
    """List, explain, replay or discard dead letters.

    An event that could not be applied is kept, encrypted, in its target database. Later events of
    the same row are deferred unless they carry the whole row; all others are applied.

      OPEN        decide: remove the cause and replay it, or discard it
      PARKED      deferred: the runner tries it again, in order
      REPLAYED    it was applied after all
      DISCARDED   it was given up with `dlq discard`
      SUPERSEDED  a newer whole row was applied; it is never replayed

    examples:
      sink-runner dlq list --summary
      sink-runner dlq show south/12
      sink-runner dlq explain south/12
      sink-runner dlq replay --mapping golden-records --error 23514 --yes --wait
      sink-runner dlq discard south/12 --reason 'test data'
    """


@dlq.command("list")
@selection_options(*STATUSES, ALL, with_ids=False)
@flag("--summary", help="Count them by mapping, error and status.")
@most_option(100)
@wide_option
@json_option
def list_(*, selection: Selection, summary: bool, most: int, wide: bool, as_json: bool) -> int:
    """List dead letters, the oldest first.

    examples:
      sink-runner dlq list
      sink-runner dlq list --summary
      sink-runner dlq list --mapping golden-records --error 23514 --since 2026-03-01
      sink-runner dlq list --key '{"year": 2026, "number": 17}' --status ALL --json
    """
    with dlq_service() as service:
        wanted = selection.wanted(service)
        if summary:
            counts = service.summary(wanted, selection.key)
            records = [{"database": name, **count.as_json()} for name, count in counts]
            table, extra = tables.summary_table(counts), EXTRA_OF_SUMMARY
        else:
            found = service.find(wanted, most=most, key=selection.key)
            records = [dead_letter.as_json(name) for name, dead_letter in found]
            table, extra = tables.dead_letters_table(found), EXTRA_OF_LIST
    if as_json:
        print(json.dumps(records, indent=2, ensure_ascii=False, default=str))
    else:
        print_table(table, extra=extra, wide=wide)
    return OK


@dlq.command()
@click.argument("dead_letter_id", metavar="ID")
@reader_option
@clear_option
@json_option
def show(*, dead_letter_id: str, user: str, clear: bool, as_json: bool) -> int:
    """Show one dead letter, masked.

    The row is masked as the policies say for you. With --clear you see the columns unmasked that a
    policy opens to you (MASK_NONE); that needs the key of the dead letters. The audit log records
    first who read which dead letter, and whether it was masked.

    examples:
      sink-runner dlq show south/12
      sink-runner dlq show south/12 --as portal-operator --clear
    """
    with dlq_service(user) as service:
        database, dead_letter = service.one(dead_letter_id)
        if clear:
            service.allow_clear(database, [dead_letter])
        else:
            record_reading(service, database, dead_letter)
        record = service.readable(database, dead_letter, clear=clear)
        print_record(record, tables.dead_letter_lines(record), as_json=as_json)
    return OK


@dlq.command()
@click.argument("dead_letter_id", metavar="ID")
@reader_option
@json_option
def explain(*, dead_letter_id: str, user: str, as_json: bool) -> int:
    """Say where a dead letter would fail now.

    Applies the event with the present plugins and policies, step by step, in a transaction that is
    rolled back. The audit log records that you read it, masked. The exit code is 1 if the event
    would fail.

    examples:
      sink-runner dlq explain south/12
      sink-runner dlq explain south/12 --json
    """
    with dlq_service(user) as service:
        database, dead_letter = service.one(dead_letter_id)
        record_reading(service, database, dead_letter)
        found = explain_dead_letter(service, database, dead_letter)
        print_record(found.record(), tables.explained_lines(found), as_json=as_json)
    return OK if found.good else FAILURE


@dlq.command()
@selection_options(*STATUSES, ALL)
@reader_option
@clear_option
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The file; otherwise standard output.",
)
def export(*, selection: Selection, user: str, clear: bool, form: str, output: Path | None) -> int:
    """Write dead letters to a file, masked.

    One line for each, with its row masked as by `dlq show`. The audit log names each.

    Only you can read FILE, and it is replaced when all is written. With --clear, a dead letter that
    cannot be read is written without its row, `unreadable` says why, and the exit code is 1.

    examples:
      sink-runner dlq export --mapping golden-records > dead-letters.jsonl
      sink-runner dlq export --format csv --output dead-letters.csv
    """
    with dlq_service(user) as service:
        done = export_dead_letters(
            service,
            selection.wanted(service),
            ids=selection.named,
            key=selection.key,
            as_csv=form == "csv",
            output=output,
            clear=clear,
        )
    for name, why in done.without.items():
        print(f"sink-runner: {name} is without its payload: {why}", file=sys.stderr)
    for database in sorted(done.unaudited):
        warn_unaudited(database)
    print(f"sink-runner: {done.dead_letters} dead letters exported", file=sys.stderr)
    return FAILURE if done.without else OK


for _command in (replay, discard, rotate_keys):
    dlq.add_command(_command)
