"""Run `make bench` or `make bench-peers`; see --help."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

from rich.console import Console

from . import batch, latency, passes, peers, recording, reference, runner, stack
from .passes import PassResult
from .recording import Recording
from .report import Report
from .stack import BenchStack


def main() -> int:
    args = _parse_arguments()
    if args.fresh or stack.count_recorded_events() != args.events:
        stack.delete_stack()
    with stack.open_stack() as bench:
        if not stack.count_recorded_events():
            recording.record(bench, args.events)
        return _run_benchmarks(bench, args)


def _run_benchmarks(bench: BenchStack, args: argparse.Namespace) -> int:
    recorded = recording.load_recording(bench)
    report = Report(events=recorded.events)
    report.notes.append(
        f"topic {recording.TOPIC}: {recorded.events:,} updates, recorded in {bench.folder.name}"
    )
    if len(runner.available_clients()) == 1:
        report.notes.append("librdkafka is not measured: pip install -e '.[librdkafka]'")
    runner.install_plugin(bench)
    if args.changes:
        bench.reporter.step(f"timing {args.changes} single changes from commit to commit")
        report.latencies = latency.measure(bench, args.changes)
    bench.stop_capture()
    with _prepare_peers(bench, recorded, args, report) as peer_passes:
        for number in range(1, args.passes + 1):
            bench.reporter.step(f"pass {number} of {args.passes}")
            _run_passes(bench, recorded, args, report)
            for name, run_peer_pass in peer_passes.items():
                _add_result(bench, report, name, run_peer_pass())
    if args.batch_rows:
        bench.reporter.step(f"running a batch of {args.batch_rows:,} rows")
        report.batches = batch.measure(args.batch_rows)
    report.print(Console(stderr=args.json, highlight=False))
    if args.json:
        json.dump(report.as_json(), sys.stdout, indent=2)
        print()
    return 0


def _prepare_peers(
    bench: BenchStack, recorded: Recording, args: argparse.Namespace, report: Report
) -> AbstractContextManager[Mapping[str, Callable[[], PassResult]]]:
    return peers.prepare(bench, recorded, report) if args.peers else nullcontext({})


def _run_passes(
    bench: BenchStack, recorded: Recording, args: argparse.Namespace, report: Report
) -> None:
    """Run a pass of each Kafka client, then the reference, so that all meet the same load."""
    for name, client in runner.available_clients().items():
        program = runner.start_runner(bench, "bench-account", rows=args.rows, client=client)
        _add_result(bench, report, name, passes.run_pass(bench, recorded, program))
    report.references.append(reference.measure(bench, recorded, args.rows))


def _add_result(bench: BenchStack, report: Report, name: str, result: PassResult) -> None:
    report.add(name, result)
    bench.reporter.step(f"{name}: {result.rate:,.0f} events/s")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measure how fast sink-runner applies recorded changes from a Kafka topic.",
    )
    add = parser.add_argument
    add("--events", type=int, default=200_000, help="number of recorded changes (%(default)s)")
    add("--passes", type=int, default=3, help="number of passes of each sink (%(default)s)")
    add(
        "--rows", type=int, default=runner.DEFAULT_ROWS, help="setting batch.max_rows (%(default)s)"
    )
    add(
        "--changes",
        type=int,
        default=200,
        help="number of single changes to time; 0 for none (%(default)s)",
    )
    add(
        "--batch-rows",
        type=int,
        default=batch.ROWS,
        help="number of rows of the batch run; 0 for none (%(default)s)",
    )
    add("--peers", action="store_true", help="also measure other sinks on the same topic")
    add("--fresh", action="store_true", help="delete the recorded topic and record it again")
    add("--json", action="store_true", help="print JSON")
    return parser.parse_args()


sys.exit(main())
