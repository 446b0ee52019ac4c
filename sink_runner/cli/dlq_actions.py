"""What the actions of ``sink-runner dlq`` do; `dlq` says what they take."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import psycopg

from .. import log
from ..dlq import key_rotation
from ..dlq import stored_dead_letters as dead_letters
from ..dlq.stored_dead_letters import OPEN, PARKED, STATUSES, StoredDeadLetter, Wanted
from ..errors import ConfigError
from ..inspection import databases as places
from ..inspection import explain as explaining
from ..inspection import replay as replay_queue
from ..inspection import tables
from ..inspection.export import export
from ..inspection.replay import Decided, Outcome
from ..inspection.service import DlqService
from ..postgres.error_classes import classify_error
from .command import FAILURE, OK, read_config, read_plugins
from .tables import print_table

Ids = dict[str, list[int]]


def list_(args: argparse.Namespace) -> int:
    bench = _bench(args)
    wanted = _wanted(bench, args)
    if args.summary:
        counts = bench.summary(wanted, args.key)
        records = [{"database": name, **count.told()} for name, count in counts]
        _print(args, records, lambda: tables.summary_table(counts))
        return OK
    found = bench.find(wanted, most=args.most, key=args.key)
    records = [dead_letter.told(name) for name, dead_letter in found]
    _print(args, records, lambda: tables.dead_letters_table(found))
    return OK


def show(args: argparse.Namespace) -> int:
    bench = _bench(args)
    database, dead_letter = bench.one(args.id)
    if args.clear:
        bench.allow_clear(database, [dead_letter])
    else:
        _note(bench, database, dead_letter)
    shown = bench.shown(database, dead_letter, clear=args.clear)
    _print(args, shown, lambda: "\n".join(tables.shown_lines(shown)))
    return OK


def explain(args: argparse.Namespace) -> int:
    bench = _bench(args)
    database, dead_letter = bench.one(args.id)
    _note(bench, database, dead_letter)
    told = explaining.explain(bench, database, dead_letter)
    _print(args, told.record(), lambda: tables.explained_table(told))
    return OK if told.good else FAILURE


def replay(args: argparse.Namespace) -> int:
    bench = _bench(args)
    chosen = _chosen(bench, args, OPEN)
    if not _may(args, chosen, "replay"):
        return _undone(args, chosen)
    decided: dict[str, list[Decided]] = {}
    for database, ids in chosen.items():
        with places.asking(bench.config, database) as connection:
            decided[database] = replay_queue.replay(connection, ids, user=bench.user)
    _tell_batches(decided)
    if not args.wait:
        _print(args, _records(decided, "parked"), lambda: _told(decided, "will be tried again"))
        return OK
    return _wait(bench, args, decided)


def discard(args: argparse.Namespace) -> int:
    bench = _bench(args)
    if not args.reason.strip():
        raise ConfigError("--reason is empty")
    named = args.ids or args.more_ids
    args.status = args.status or ("ALL" if named else "OPEN")
    chosen = _chosen(bench, args, OPEN, PARKED)
    if not _may(args, chosen, "discard"):
        return _undone(args, chosen)
    decided = {}
    for database, ids in chosen.items():
        with places.asking(bench.config, database) as connection:
            decided[database] = replay_queue.discard(
                connection, ids, user=bench.user, reason=args.reason
            )
    _print(args, _records(decided, "discarded"), lambda: _told(decided, "discarded"))
    return OK


def export_(args: argparse.Namespace) -> int:
    bench = _bench(args)
    wanted = _wanted(bench, args)
    done = export(
        bench,
        wanted,
        ids=[*args.ids, *args.more_ids],
        key=args.key,
        as_csv=args.format == "csv",
        output=args.output,
        clear=args.clear,
    )
    for name, why in done.without.items():
        print(f"sink-runner: {name} is without its payload: {why}", file=sys.stderr)
    for database in sorted(done.unaudited):
        _tell_unaudited(database)
    print(f"sink-runner: {done.dead_letters} dead letters exported", file=sys.stderr)
    return FAILURE if done.without else OK


def rotate_keys(args: argparse.Namespace) -> int:
    bench = _bench(args)
    work = key_rotation.fingerprints if args.fingerprints else key_rotation.encrypt_again
    found = {}
    with tables.progress() as bar:
        for database in bench.databases():
            task = bar.add_task(database, total=None)
            with places.asking(bench.config, database) as connection:
                found[database] = work(connection, bench.encryptor, partial(bar.update, task))
    records = [{"database": name, **done._asdict()} for name, done in found.items()]
    _print(args, records, lambda: "\n".join(f"{n}: {done}" for n, done in found.items()))
    return FAILURE if any(done.unopened for done in found.values()) else OK


def run(name: str, args: argparse.Namespace) -> int:
    """Do what an action is for; what a database refuses in it is told without its words."""
    try:
        return ACTIONS[name](args)
    except psycopg.Error as fault:
        raise classify_error(fault) from fault


ACTIONS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "list": list_,
    "show": show,
    "explain": explain,
    "replay": replay,
    "discard": discard,
    "export": export_,
    "rekey": rotate_keys,
}


# -- who looked ------------------------------------------------------------------------------------


def _note(bench: DlqService, database: str, dead_letter: StoredDeadLetter) -> None:
    if not bench.note_masked(database, [dead_letter]):
        _tell_unaudited(database)


def _tell_unaudited(database: str) -> None:
    print(
        f"sink-runner: who looked is not written into the audit log of {database}: the role of "
        "[databases] dsn may not add to it",
        file=sys.stderr,
    )


# -- which dead letters ----------------------------------------------------------------------------


def _bench(args: argparse.Namespace) -> DlqService:
    file = read_config(args)
    args.only, args.without = [], []
    plugins = read_plugins(args, file)
    config = file.config()
    log.configure(config.log)
    bench = DlqService(config, plugins, args.user)
    _ = bench.policies  # before the first row, whichever action it is
    return bench


def _wanted(bench: DlqService, args: argparse.Namespace, every: Sequence[str] = STATUSES) -> Wanted:
    bench.check_mapping(args.mapping)
    return Wanted(
        mapping=args.mapping,
        error=args.error,
        since=args.since,
        until=args.until,
        statuses=every if args.status == "ALL" else (args.status,),
    )


def _chosen(bench: DlqService, args: argparse.Namespace, *every: str) -> Ids:
    """The dead letters that are meant, by database; `every` status is what an action is for."""
    ids = [*args.ids, *args.more_ids]
    filters = (args.mapping, args.error, args.since, args.until, args.key)
    if not ids and not any(filters):
        raise ConfigError("say which dead letters: their ids, --mapping, --error, --since or --key")
    wanted = _wanted(bench, args, every)
    found = {
        database: dead_letters.ids(connection, here)
        for database, connection, here in bench.search(wanted, ids, args.key)
    }
    return {database: numbers for database, numbers in found.items() if numbers}


def _may(args: argparse.Namespace, chosen: Ids, verb: str) -> bool:
    """Is it to be done?  If not, say which dead letters it is about."""
    count = _count(chosen)
    if count and not args.dry_run and (args.yes or count == 1):
        return True
    names = [f"{database}/{number}" for database, ids in chosen.items() for number in ids]
    if args.json:
        print(json.dumps({"dead_letters": names}, indent=2))
    else:
        print("\n".join(names) or "no such letter")
    if count > 1 and not args.dry_run:
        print(f"sink-runner: to {verb} these {count} dead letters add --yes", file=sys.stderr)
    return False


def _undone(args: argparse.Namespace, chosen: Ids) -> int:
    """A failure if something was asked for and not done."""
    if args.dry_run:
        return OK
    return FAILURE if chosen or args.ids or args.more_ids else OK


def _count(chosen: Mapping[str, Sequence[Any]]) -> int:
    return sum(map(len, chosen.values()))


# -- what became of them ---------------------------------------------------------------------------


def _wait(bench: DlqService, args: argparse.Namespace, decided: Mapping[str, list[Decided]]) -> int:
    events = {
        database: [one.dlq_id for one in part if not one.of_batch]
        for database, part in decided.items()
    }

    def ask() -> Mapping[str, list[Outcome]]:
        found = {}
        for database, ids in events.items():
            with places.asking(bench.config, database) as connection:
                found[database] = replay_queue.outcomes(connection, ids)
        return found

    with tables.progress() as bar:
        task = bar.add_task("replaying", total=_count(events))
        found = replay_queue.wait(ask, args.timeout, lambda done: bar.update(task, completed=done))
    records = [
        {"id": f"{name}/{one.dlq_id}", "outcome": one.word, "tries": one.attempts}
        for name, part in found.items()
        for one in part
    ]
    lines = [f"{one['id']}: {one['outcome']} ({one['tries']} tries)" for one in records]
    _print(args, records, lambda: "\n".join(lines))
    return OK if all(one["outcome"] == "replayed" for one in records) else FAILURE


def _tell_batches(decided: Mapping[str, list[Decided]]) -> None:
    names = sorted({one.mapping for part in decided.values() for one in part if one.of_batch})
    for name in names:
        print(
            f"sink-runner: rows of batches are tried by the next `sink-runner batch {name}`",
            file=sys.stderr,
        )


def _records(decided: Mapping[str, list[Decided]], word: str) -> list[dict[str, Any]]:
    return [
        {"id": f"{name}/{one.dlq_id}", "mapping": one.mapping, "outcome": word}
        for name, part in decided.items()
        for one in part
    ]


def _told(decided: Mapping[str, list[Decided]], word: str) -> str:
    lines = [
        f"{name}: {count} of {mapping} {word}"
        for name, part in decided.items()
        for mapping, count in replay_queue.by_mapping(part).items()
    ]
    return "\n".join(lines) or "nothing to do: somebody else was faster"


def _print(args: argparse.Namespace, record: Any, shown: Callable[[], Any]) -> None:
    """As JSON for programs, else as people read it."""
    if args.json:
        print(json.dumps(record, indent=2, ensure_ascii=False, default=str))
        return
    found = shown()
    if isinstance(found, str):
        print(found)  # not rich: a value may look like markup
    else:
        print_table(found)
