"""``sink-runner dlq``: replay and discard dead letters, rotate their keys."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import click

from ..dlq import key_rotation, stored_dead_letters
from ..dlq.stored_dead_letters import OPEN, PARKED
from ..errors import ConfigError
from ..inspection import replay as replaying
from ..inspection import tables
from ..inspection.databases import dlq_session
from ..inspection.replay import Decided, Outcome
from ..inspection.service import DlqService
from .arguments import flag, json_option, seconds
from .command import FAILURE, OK, Command
from .dlq_options import ALL, Selection, dlq_service, print_record, selection_options

Ids = dict[str, list[int]]
"""Numbers of dead letters by database."""

dry_run_option = flag("--dry-run", help="Print which they are, and change nothing.")
yes_option = flag("--yes", help="Do it for more than one.")


@click.command(cls=Command)
@selection_options(OPEN, status_help="Only open ones can be replayed.")
@dry_run_option
@yes_option
@flag("--wait", help="Wait for the outcomes.")
@click.option(
    "--timeout", type=seconds, default=60.0, metavar="S", help="... for this many seconds."
)
@json_option
def replay(
    *,
    selection: Selection,
    dry_run: bool,
    yes: bool,
    wait: bool,
    timeout: float,
    as_json: bool,
) -> int:
    """Try dead letters again, in order.

    Open dead letters become PARKED. The running `sink-runner run` applies them with the present
    plugins and policies, then the events that were deferred because of them, in order. The stored
    event is the original one, so nothing is masked twice. A dead letter that fails again is open
    again, with one more try. Those of a batch run are tried by the mapping's next
    `sink-runner batch`.

    With --wait the exit code is 1 if one has failed again or is not applied yet.

    examples:
      sink-runner dlq replay south/12 --wait
      sink-runner dlq replay --mapping golden-records --error 23514 --dry-run
      sink-runner dlq replay --mapping golden-records --error 23514 --yes --wait
    """
    with dlq_service() as service:
        chosen = _choose(service, selection, OPEN)
        if not _confirm(chosen, "replay", dry_run=dry_run, yes=yes, as_json=as_json):
            return _not_done(selection, chosen, dry_run=dry_run)
        decided: dict[str, list[Decided]] = {}
        for database, ids in chosen.items():
            with dlq_session(service.config, database) as connection:
                decided[database] = replaying.replay(connection, ids, user=service.user)
        _name_batches(decided)
        if wait:
            return _wait(service, decided, timeout, as_json=as_json)
    _print_decided(decided, "parked", "will be tried again", as_json=as_json)
    return OK


@click.command(cls=Command)
@selection_options(
    OPEN,
    PARKED,
    ALL,
    default=None,
    status_help="ALL is both of the others. Default: ALL of the ids you give, else OPEN.",
)
@dry_run_option
@yes_option
@click.option("--reason", required=True, metavar="TEXT", help="Why, for the audit log.")
@json_option
def discard(*, selection: Selection, dry_run: bool, yes: bool, reason: str, as_json: bool) -> int:
    """Give dead letters up.

    Their events are never applied; events that were deferred because of them are applied next. The
    dead letters stay, and the audit log records who gave them up, when and why. Write no personal
    value into the reason.

    examples:
      sink-runner dlq discard south/12 --reason 'test data of the migration'
      sink-runner dlq discard --mapping feedback --until 2026-01-01 \\
          --reason 'too old' --yes
    """
    with dlq_service() as service:
        if not reason.strip():
            raise ConfigError("--reason is empty: say why, for the audit log")
        status = selection.status or (ALL if selection.named else OPEN)
        chosen = _choose(service, replace(selection, status=status), OPEN, PARKED)
        if not _confirm(chosen, "discard", dry_run=dry_run, yes=yes, as_json=as_json):
            return _not_done(selection, chosen, dry_run=dry_run)
        decided: dict[str, list[Decided]] = {}
        for database, ids in chosen.items():
            with dlq_session(service.config, database) as connection:
                decided[database] = replaying.discard(
                    connection, ids, user=service.user, reason=reason
                )
    _print_decided(decided, "discarded", "discarded", as_json=as_json)
    return OK


@click.command("rekey", cls=Command)
@flag(
    "--fingerprints",
    help="Make the fingerprints with the present key; no runner may run, and old_keys must go "
    "afterwards.",
)
@json_option
def rotate_keys(*, fingerprints: bool, as_json: bool) -> int:
    """Encrypt all dead letters with the present key.

    To change the key of the dead letters:

      1. Write the new key into [dead_letters] key and key_id, the old one into
         old_keys, and restart the runners. They encrypt with the new key and
         still decrypt with the old one.
      2. Call sink-runner dlq rekey while they run. You can interrupt and repeat
         it.
      3. Stop the runners, call sink-runner dlq rekey --fingerprints, remove
         old_keys, and start the runners.

    Dead letters of one row have the same fingerprint. All are made with the oldest key that is
    configured, so that their order holds while there are two keys. Step 3 makes them with the new
    one, all at once, and refuses to while a runner is connected. A runner whose keys differ from
    those of the fingerprints does not start.

    An interrupted batch run whose key is personal resumes only with the key that encrypted its
    position. Without it the next run starts at the beginning.
    """
    work = key_rotation.fingerprints if fingerprints else key_rotation.encrypt_again
    found = {}
    with dlq_service() as service, tables.progress() as bar:
        for database in service.databases():
            task = bar.add_task(database, total=None)
            with dlq_session(service.config, database) as connection:
                found[database] = work(connection, service.encryptor, partial(bar.update, task))
    records = [{"database": name, **done._asdict()} for name, done in found.items()]
    lines = [f"{name}: {done}" for name, done in found.items()]
    print_record(records, lines, as_json=as_json)
    return FAILURE if any(done.unopened for done in found.values()) else OK


def _choose(service: DlqService, selection: Selection, *every: str) -> Ids:
    """Return the dead letters that are meant; `every` are the statuses that the command is for."""
    if not selection:
        raise ConfigError("say which dead letters: ids, --mapping, --error, --since or --key")
    wanted = selection.wanted(service, every)
    found = {
        database: stored_dead_letters.ids(connection, here)
        for database, connection, here in service.search(wanted, selection.named, selection.key)
    }
    return {database: numbers for database, numbers in found.items() if numbers}


def _confirm(chosen: Ids, verb: str, *, dry_run: bool, yes: bool, as_json: bool) -> bool:
    """Return whether to act; otherwise print the dead letters that were chosen."""
    names = [f"{database}/{number}" for database, ids in chosen.items() for number in ids]
    if names and not dry_run and (yes or len(names) == 1):
        return True
    if as_json:
        print(json.dumps({"dead_letters": names}, indent=2))
    else:
        print("\n".join(names) or "no dead letter matches")
    if len(names) > 1 and not dry_run:
        print(f"sink-runner: to {verb} these {len(names)}, add --yes", file=sys.stderr)
    return False


def _not_done(selection: Selection, chosen: Ids, *, dry_run: bool) -> int:
    """Return FAILURE if something was to be done and was not."""
    return FAILURE if not dry_run and (chosen or selection.named) else OK


def _wait(
    service: DlqService, decided: Mapping[str, list[Decided]], timeout: float, *, as_json: bool
) -> int:
    events = {
        database: [one.dlq_id for one in part if not one.of_batch]
        for database, part in decided.items()
    }

    def ask() -> Mapping[str, list[Outcome]]:
        found = {}
        for database, ids in events.items():
            with dlq_session(service.config, database) as connection:
                found[database] = replaying.outcomes(connection, ids)
        return found

    with tables.progress() as bar:
        task = bar.add_task("replaying", total=sum(map(len, events.values())))
        found = replaying.wait(ask, timeout, lambda done: bar.update(task, completed=done))
    records = [
        {"id": f"{name}/{one.dlq_id}", "outcome": one.word, "tries": one.attempts}
        for name, part in found.items()
        for one in part
    ]
    lines = [f"{one['id']}: {one['outcome']} ({one['tries']} tries)" for one in records]
    print_record(records, lines, as_json=as_json)
    return OK if all(one["outcome"] == "replayed" for one in records) else FAILURE


def _name_batches(decided: Mapping[str, list[Decided]]) -> None:
    names = sorted({one.mapping for part in decided.values() for one in part if one.of_batch})
    for name in names:
        print(
            f"sink-runner: rows of batches are tried by the next `sink-runner batch {name}`",
            file=sys.stderr,
        )


def _print_decided(
    decided: Mapping[str, Sequence[Decided]], outcome: str, text: str, *, as_json: bool
) -> None:
    records: list[dict[str, Any]] = [
        {"id": f"{name}/{one.dlq_id}", "mapping": one.mapping, "outcome": outcome}
        for name, part in decided.items()
        for one in part
    ]
    lines = [
        f"{name}: {count} of {mapping} {text}"
        for name, part in decided.items()
        for mapping, count in replaying.by_mapping(part).items()
    ]
    nothing = "nothing to do: another process has decided about them"
    print_record(records, lines or [nothing], as_json=as_json)
