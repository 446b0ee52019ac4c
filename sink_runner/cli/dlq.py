"""``sink-runner dlq``: the events that could not be applied, and what to do about them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from .arguments import add_person, number, seconds, user_name
from .command import Subparsers, add_command

TEACHING = """\
An event that could not be applied is kept, encrypted, in its target database; later events of its
row wait behind it unless they carry the whole row, all others go on.  Dead letters have a status:

OPEN        decide about it: remove the cause and replay it, or discard it
PARKED      the runner tries it again, in order
REPLAYED    it was applied after all
DISCARDED   it was given up with `dlq discard`
SUPERSEDED  a newer whole row of the same source row was applied; it is never replayed

examples:
  sink-runner dlq list --summary                     what is there, and why
  sink-runner dlq show south/12              one dead letter, personal values masked
  sink-runner dlq explain south/12           where the chain of today would stop it
  sink-runner dlq replay --mapping golden-records --error WriteError --yes --wait
  sink-runner dlq discard south/12 --reason 'test data'
"""
LISTING = """\
examples:
  sink-runner dlq list
  sink-runner dlq list --summary
  sink-runner dlq list --mapping golden-records --error 23514 --since 2026-03-01
  sink-runner dlq list --key '{"id": "6f9619ff-8b86-d011-b42d-00c04fc964ff"}' --status ALL --json
"""
SHOWING = """\
The row is shown as the masking policies have it for you, and nothing personal in clear.  With
--clear you see in clear what a policy opens to you by MASK_NONE; that needs the dead letters' key.
Who looked at which dead letter, masked or in clear, is written into the audit log first.

examples:
  sink-runner dlq show south/12
  sink-runner dlq show south/12 --as portal-operator --clear
"""
EXPLAINING = """\
Sends the event through the chain as it is now: decode, filter, map, mask, look up, write.  The
write is done in a transaction that is rolled back, so nothing changes, but for a row in
the audit log: you read the dead letter, masked.  The exit code is 1 if the event would fail.

examples:
  sink-runner dlq explain south/12
  sink-runner dlq explain south/12 --json
"""


REPLAYING = """\
Open dead letters become deferred, and the running `sink-runner run` applies them, and what waits
behind them, in order, through the mapping as it is now.  Nothing is masked twice: what was kept is
the event itself.  A dead letter that fails again is open again, with one more try.  The next
`sink-runner batch` of the mapping tries those of a batch's rows.

The exit code is 1 if, with --wait, one has failed again or still waits.

examples:
  sink-runner dlq replay south/12 --wait
  sink-runner dlq replay --mapping golden-records --error 23514 --dry-run
  sink-runner dlq replay --mapping golden-records --error 23514 --yes --wait
"""
DISCARDING = """\
The event is given up, and those that wait behind it go on.  The dead letter stays; who gave it up,
when and why is in the audit log.  Write no personal value into the reason.

examples:
  sink-runner dlq discard south/12 --reason 'test data of the migration'
  sink-runner dlq discard --mapping feedback --until 2026-01-01 --reason 'too old' --yes
"""
EXPORTING = """\
One line a dead letter, with its row masked as `dlq show` masks it.  The audit log names each.

FILE is nobody's but yours, and is replaced when all is written.  With --clear a dead letter that
can't be read is there without its row, `unreadable` says why, and the exit code is 1.

examples:
  sink-runner dlq export --mapping golden-records > dead-letters.jsonl
  sink-runner dlq export --format csv --output dead-letters.csv
"""
KEY_ROTATION = """\
To change the key of the dead letters:
  1. write the new key into [dead_letters] key and key_id, the old one into old_keys, and restart
     the runners: new dead letters get the new key, the old one still decrypts the others
  2. sink-runner dlq rekey                   while they run; it may be stopped and started again
  3. stop the runners, sink-runner dlq rekey --fingerprints, take old_keys away, start them again

By their fingerprints the dead letters of one row find each other.  All of them are made with the
oldest key that is there, so that nothing overtakes while there are two; step 3 makes them anew, all
at once, and refuses while a runner is connected.  A runner that knows other keys than those
of the dead letters does not start.

A batch run that was interrupted and whose key is personal resumes only with the key that encrypted
its place; without it the next run reads from the beginning.
"""
STATUSES = ("OPEN", "PARKED", "REPLAYED", "DISCARDED", "SUPERSEDED", "ALL")


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "dlq",
        summary="list, explain, replay or discard the events that could not be applied",
        teaching=TEACHING,
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    _add_list(actions)
    _add_show(actions)
    _add_explain(actions)
    _add_replay(actions)
    _add_discard(actions)
    _add_export(actions)
    _add_key_rotation(actions)


def _add_list(actions: Subparsers) -> None:
    parser = _action(actions, "list", "list letters", LISTING)
    _add_filters(parser)
    parser.add_argument(
        "--summary", action="store_true", help="how many, by mapping, error and status"
    )
    parser.add_argument("--most", type=number, default=100, metavar="N", help="the first N (100)")


def _add_show(actions: Subparsers) -> None:
    parser = _action(actions, "show", "show one dead letter, masked", SHOWING)
    parser.add_argument("id", metavar="ID", help="as `dlq list` shows it")
    _add_reader(parser, clear=True)


def _add_explain(actions: Subparsers) -> None:
    parser = _action(actions, "explain", "say where one would fail now", EXPLAINING)
    parser.add_argument("id", metavar="ID", help="as `dlq list` shows it")
    _add_reader(parser, clear=False)


def _add_replay(actions: Subparsers) -> None:
    parser = _action(actions, "replay", "have dead letters tried again, in order", REPLAYING)
    _add_choice(parser, ("OPEN",), "the only one there is to replay (OPEN)", default="OPEN")
    parser.add_argument("--wait", action="store_true", help="wait for what becomes of them")
    parser.add_argument(
        "--timeout", type=seconds, default=60.0, metavar="S", help="... for so many seconds (60)"
    )


def _add_discard(actions: Subparsers) -> None:
    parser = _action(actions, "discard", "give dead letters up", DISCARDING)
    told = "ALL is both of the others (of dead letters named by their ids: ALL; else OPEN)"
    _add_choice(parser, ("OPEN", "PARKED", "ALL"), told, default=None)
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why; it is written down")


def _add_export(actions: Subparsers) -> None:
    parser = _action(
        actions, "export", "write dead letters to a file, masked", EXPORTING, json=False
    )
    _add_filters(parser)
    _add_ids(parser)
    _add_reader(parser, clear=True)
    parser.add_argument("--format", choices=("jsonl", "csv"), default="jsonl")
    parser.add_argument("--output", type=Path, metavar="FILE", help="(default: standard output)")


def _add_key_rotation(actions: Subparsers) -> None:
    parser = _action(actions, "rekey", "encrypt all with the current key", KEY_ROTATION)
    parser.add_argument(
        "--fingerprints",
        action="store_true",
        help="make the fingerprints anew; no runner may run, and old_keys has to go after it",
    )


# -- options ---------------------------------------------------------------------------------------


def _action(
    actions: Subparsers, name: str, summary: str, teaching: str, *, json: bool = True
) -> argparse.ArgumentParser:
    parser = add_command(actions, name, summary=summary, teaching=teaching)
    if json:
        parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=_runs(name), user=user_name())
    return parser


def _runs(name: str) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        # PostgreSQL and the chain are not loaded by the commands that need none of them.
        from . import dlq_actions  # noqa: PLC0415

        return dlq_actions.run(name, args)

    return run


def _add_filters(
    parser: argparse.ArgumentParser,
    statuses: Sequence[str] = STATUSES,
    status_help: str = "(OPEN)",
    *,
    status: str | None = "OPEN",
) -> None:
    parser.add_argument("--mapping", metavar="NAME", help="of this mapping")
    parser.add_argument("--error", metavar="CLASS", help="WriteError, ..., or an SQLSTATE: 23514")
    parser.add_argument(
        "--since", type=_time, metavar="T", help="ISO 8601, UTC if no zone is given"
    )
    parser.add_argument("--until", type=_time, metavar="T", help="... and before this time")
    parser.add_argument("--status", choices=statuses, default=status, help=status_help)
    parser.add_argument(
        "--key",
        metavar="KEY",
        help="the row's key in its source: its value, or JSON of its columns",
    )


def _add_ids(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", metavar="ID", nargs="*", help="as `dlq list` shows them")
    parser.add_argument(
        "--id", dest="more_ids", metavar="ID", action="append", default=[], help="the same"
    )


def _add_choice(
    parser: argparse.ArgumentParser, statuses: Sequence[str], told: str, *, default: str | None
) -> None:
    """Add the options that choose dead letters; those of another status are never chosen."""
    _add_ids(parser)
    _add_filters(parser, statuses, told, status=default)
    parser.add_argument("--dry-run", action="store_true", help="say which they are, and no more")
    parser.add_argument("--yes", action="store_true", help="do it for more than one, unasked")


def _add_reader(parser: argparse.ArgumentParser, *, clear: bool) -> None:
    add_person(parser, "whom the policies know you as")
    if clear:
        parser.add_argument(
            "--clear", action="store_true", help="in clear what the policies open to you; audited"
        )


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
