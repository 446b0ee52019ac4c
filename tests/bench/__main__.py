"""`make bench` and `make bench-peers`; see --help."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

from rich.console import Console

from . import batch, latency, measured, peers, recording, reference, runner
from . import home as homes
from .home import Home
from .measured import Pass
from .recording import Recording
from .report import Report


def main() -> int:
    args = _arguments()
    if args.fresh or homes.recorded() != args.events:
        homes.discard()
    with homes.opened() as home:
        if not homes.recorded():
            recording.record(home, args.events)
        return _bench(home, args)


def _bench(home: Home, args: argparse.Namespace) -> int:
    found = recording.load(home)
    report = Report(events=found.events)
    report.notes.append(
        f"topic {recording.TOPIC}: {found.events:,} updates, recorded once in {home.folder.name}"
    )
    if len(runner.clients()) == 1:
        report.notes.append("librdkafka is not measured: pip install -e '.[librdkafka]'")
    runner.install(home)
    if args.changes:
        home.reporter.step(f"{args.changes} single changes, commit to commit")
        report.latencies = latency.measure(home, args.changes)
    home.stop_capture()
    with _others(home, found, args, report) as others:
        for number in range(1, args.passes + 1):
            home.reporter.step(f"pass {number} of {args.passes}")
            _once(home, found, args, report)
            for name, once in others.items():
                _tell(home, report, name, once())
    if args.batch_rows:
        home.reporter.step(f"a batch of {args.batch_rows:,} rows")
        report.batches = batch.measure(args.batch_rows)
    report.print(Console(stderr=args.json, highlight=False))
    if args.json:
        json.dump(report.as_json(), sys.stdout, indent=2)
        print()
    return 0


def _others(
    home: Home, found: Recording, args: argparse.Namespace, report: Report
) -> AbstractContextManager[Mapping[str, Callable[[], Pass]]]:
    return peers.ready(home, found, report) if args.peers else nullcontext({})


def _once(home: Home, found: Recording, args: argparse.Namespace, report: Report) -> None:
    """The runner and, in the same minute, what the database does without it."""
    for name, client in runner.clients().items():
        program = runner.started(home, "bench-account", rows=args.rows, client=client)
        _tell(home, report, name, measured.run(home, found, program))
    report.references.append(reference.measure(home, found, args.rows))


def _tell(home: Home, report: Report, name: str, done: Pass) -> None:
    report.add(name, done)
    home.reporter.step(f"{name}: {done.rate:,.0f} events/s")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measure the sink runner on recorded changes, from Kafka to committed rows.",
    )
    add = parser.add_argument
    add("--events", type=int, default=200_000, help="recorded changes (%(default)s)")
    add("--passes", type=int, default=3, help="how often each is measured (%(default)s)")
    add("--rows", type=int, default=runner.DEFAULT_ROWS, help="batch.max_rows (%(default)s)")
    add("--changes", type=int, default=200, help="single changes timed; 0: none (%(default)s)")
    add("--batch-rows", type=int, default=batch.ROWS, help="of a batch; 0: none (%(default)s)")
    add("--peers", action="store_true", help="measure other sinks on the same topic as well")
    add("--fresh", action="store_true", help="forget the recorded topic and record it anew")
    add("--json", action="store_true", help="results as JSON on standard output")
    return parser.parse_args()


sys.exit(main())
