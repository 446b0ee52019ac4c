"""`sink-scheduler schedule` as a process, with real databases and real batches."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from ...support.waits import eventually

ROOT = Path(__file__).parents[3]
PROGRAM = [sys.executable, "-m", "sink_runner"]
DATABASES = ("smart_warehouse", "smart_citizen")
CODE = """
from sink_runner.plugin import Column, Query, Schedule, TableMapping, hookimpl, source_wins

@hookimpl
def sink_mapping():
    return TableMapping(
        source="smart_warehouse.public.crates",
        target="smart_citizen.public.crates",
        key=("id",),
        conflict=source_wins(),
        columns=(Column("id"),),
        schedules=({schedules}),
        {more}
    )
"""
SLOW = (
    'streaming=False, query=Query(select="SELECT id FROM crates, pg_sleep(600) WHERE {changed}"),'
)
MISS_TWO_DAYS = "UPDATE sink.schedule SET done_until = now() - interval '2 days'"


class Scheduler:
    """Runs the scheduler with a plugin, its two tables and a configuration."""

    def __init__(self, postgres, site, folder: Path) -> None:
        self.site = site
        self.config = folder / "sink-scheduler.toml"
        self.environ = {**os.environ, "PYTHONPATH": str(site.folder), "SINK_PLUGINS": "crates"}
        self.names = {name: postgres.fresh_database(name) for name in DATABASES}
        self.admins = {name: postgres.dsn(self.names[name]) for name in DATABASES}
        dsns = "".join(
            f'[databases.{name}]\ndsn = "{postgres.dsn(actual, "sink_writer")}"\n'
            f'reader_dsn = "{postgres.dsn(actual, "sink_reader")}"\n'
            for name, actual in self.names.items()
        )
        self.config.write_text(
            'shutdown_seconds = 5\n[kafka]\nbootstrap = "x"\n[registry]\nurl = "http://x"\n'
            f'[policies]\ndirectory = "{ROOT / "ranger-policies"}"\n{dsns}'
            f'[dead_letters]\nkey = "{"A" * 43}="\nkey_id = "test"\n'
            '[schedule]\nmaintenance = ""\n'
        )
        for name in DATABASES:
            self.sql(
                name,
                "CREATE TABLE public.crates (id int PRIMARY KEY);"
                "GRANT ALL ON public.crates TO sink_writer;"
                "GRANT SELECT ON public.crates TO sink_reader",
            )
        self.sql("smart_warehouse", "INSERT INTO public.crates VALUES (1), (2)")
        self.sql("smart_warehouse", "ALTER PUBLICATION sink_publication ADD TABLE public.crates")

    def plugin(self, more: str = "", schedules: str = 'Schedule("0 0 * * *"),') -> None:
        self.site.plugin("crates", CODE.format(more=more, schedules=schedules))

    def sql(self, database: str, statement: str) -> list[tuple]:
        with psycopg.connect(self.admins[database]) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def miss_runs(self) -> None:
        """Set the progress of the schedule back by two days."""
        self.sql("smart_citizen", MISS_TWO_DAYS)

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, "schedule", "--config", self.config, *arguments],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        """Start the scheduler; kill it at the end of the block if it still runs."""
        child = subprocess.Popen(
            [*PROGRAM, "schedule", "--config", self.config],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield child
        finally:
            child.kill()
            child.communicate()


@pytest.fixture
def scheduler(postgres, site, tmp_path) -> Scheduler:
    return Scheduler(postgres, site, tmp_path)


def events(output: str) -> list[dict]:
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


@pytest.mark.postgres
class TestWithDatabases:
    def test_once_runs_what_is_due_and_ends(self, scheduler):
        scheduler.plugin()
        first = scheduler.call("--once")
        assert first.returncode == 0, first.stderr
        assert scheduler.sql("smart_citizen", "SELECT * FROM public.crates") == []
        scheduler.miss_runs()
        run = scheduler.call("--once")
        assert run.returncode == 0, run.stderr
        assert scheduler.sql("smart_citizen", "SELECT * FROM public.crates") == [(1,), (2,)]
        names = [event["event"] for event in events(run.stderr)]
        assert names == [
            "schedule_started",
            "batch_late",
            "batch_started",
            "batch_finished",
            "schedule_stopped",
        ]
        again = scheduler.call("--once")
        assert "batch_started" not in again.stderr

    def test_missed_reconciliations_are_one_run(self, scheduler):
        scheduler.plugin(schedules="")
        with scheduler.config.open("a") as config:
            config.write('[schedule.reconcile]\nchanged = ["0 3 * * *"]\n')
        scheduler.call("--once")
        scheduler.miss_runs()
        run = scheduler.call("--once")
        assert run.returncode == 0, run.stderr
        find = "SELECT mode, outcome FROM sink.reconcile_run"
        assert scheduler.sql("smart_citizen", find) == [("changed", "undecided")]
        assert "batch_started" not in scheduler.call("--once").stderr

    def test_list_shows_last_and_next_run(self, scheduler):
        scheduler.plugin()
        head, line = scheduler.call("--list", "--wide").stdout.splitlines()
        assert head.split("  ")[0] == "NAME"
        assert line.split()[:8] == ["crates", "0", "0", "*", "*", "*", "changed", "-"]
        scheduler.call("--once")
        scheduler.miss_runs()
        scheduler.call("--once")
        _, line = scheduler.call("--list").stdout.splitlines()
        assert line.split()[-3] == "ok"
        assert line.endswith("00:00")

    def test_once_exits_with_1_after_failed_run(self, scheduler):
        scheduler.plugin()
        scheduler.call("--once")
        scheduler.miss_runs()
        scheduler.sql("smart_citizen", "ALTER TABLE public.crates ADD CHECK (id > 5)")
        scheduler.config.write_text(scheduler.config.read_text() + "tolerated_rows = 1\n")
        run = scheduler.call("--once")
        assert run.returncode == 1
        (failed,) = [event for event in events(run.stderr) if event["event"] == "batch_failed"]
        assert (failed["exit_code"], failed["gave_up"]) == (1, False)

    def test_sigterm_ends_running_batch_and_then_scheduler(self, scheduler):
        scheduler.plugin(SLOW)
        scheduler.call("--once")
        scheduler.miss_runs()
        with scheduler.running() as child:
            eventually(lambda: scheduler.sql("smart_warehouse", SLEEPING) == [(1,)])
            child.send_signal(signal.SIGTERM)
            out, _ = child.communicate(timeout=60)
            assert child.returncode == 0
        assert "batch_interrupted" in out
        eventually(lambda: scheduler.sql("smart_citizen", LOCKS) == [(0,)])
        assert scheduler.sql("smart_citizen", "SELECT outcome, failures FROM sink.schedule") == [
            ("interrupted", 0)
        ]

    def test_failed_scheduler_leaves_no_batch_running(self, scheduler):
        scheduler.plugin(SLOW, 'Schedule("0 0 * * *"), Schedule("0 0 1 1 *", full=True)')
        scheduler.call("--once")
        scheduler.sql("smart_citizen", f"{MISS_TWO_DAYS} WHERE mode = 'changed'")
        with scheduler.running() as child:
            eventually(lambda: scheduler.sql("smart_warehouse", SLEEPING) == [(1,)])
            scheduler.sql("smart_citizen", "ALTER TABLE sink.schedule RENAME TO gone")
            out, _ = child.communicate(timeout=60)
        assert child.returncode == 78
        assert "UndefinedTable" in out
        eventually(lambda: scheduler.sql("smart_citizen", LOCKS) == [(0,)])

    def test_two_schedulers_run_a_batch_once(self, scheduler):
        scheduler.plugin()
        scheduler.call("--once")
        scheduler.miss_runs()
        with scheduler.running(), scheduler.running():
            eventually(
                lambda: (
                    scheduler.sql("smart_citizen", "SELECT outcome FROM sink.schedule") == [("ok",)]
                )
            )
            time.sleep(2)
        assert scheduler.sql("smart_citizen", "SELECT count(*) FROM sink.batch_run") == [(1,)]


SLEEPING = (
    "SELECT count(*)::int FROM pg_stat_activity"
    " WHERE datname = current_database() AND state = 'active' AND query LIKE '%pg_sleep%'"
    " AND pid <> pg_backend_pid()"
)
LOCKS = (
    "SELECT count(*)::int FROM pg_locks JOIN pg_database d ON d.oid = database"
    " WHERE locktype = 'advisory' AND datname = current_database()"
)

# -- without databases --------------------------------------------------------------------

DAILY = """
from sink_runner.plugin import Schedule
from dataclasses import replace
_mapping = sink_mapping
@hookimpl
def sink_mapping():
    return replace(_mapping(), schedules=(Schedule("0 1 * * *"),))
"""


def test_schedules_are_printed_as_json(site, call, configured):
    site.mapping("apples", code=DAILY)
    path = configured("apples", more="[schedule]\nretries = 7\n")
    code, out, err = call("schedule", "--json")
    assert (code, err) == (0, "")
    printed = json.loads(out)
    (one,) = printed["schedules"]
    assert (one["mapping"], one["mode"], one["cron"]) == ("apples", "changed", "0 1 * * *")
    assert one["arguments"] == ["batch", "apples", "--wait", "--tolerate", "100"]
    assert one["expected_seconds"] == 3600
    assert printed["rules"]["retries"] == 7
    assert {str(path), str(site.folder)} <= set(printed["depends_on"])
    assert any("apples_for_tests.py" in file for file in printed["depends_on"])


def test_json_includes_reconciliations(site, call, configured):
    site.mapping("apples")
    configured("apples", more='[schedule.reconcile]\nfull = ["0 4 * * SUN"]\n')
    (one,) = json.loads(call("schedule", "--json")[1])["schedules"]
    assert (one["mode"], one["pool"]) == ("reconcile-full", "sink.reconcile")
    assert one["arguments"] == ["reconcile", "apples", "--full", "--exit-zero"]


def test_broken_plugin_does_not_hide_other_schedules(site, call, configured):
    site.mapping("apples", code=DAILY)
    site.plugin("pears", "import missing_module")
    configured("apples", "pears")
    code, out, _ = call("schedule", "--json")
    printed = json.loads(out)
    assert code == 78
    assert [one["mapping"] for one in printed["schedules"]] == ["apples"]
    assert "missing_module" in printed["errors"][0]


def test_schedule_of_unknown_mapping_is_refused(site, call, configured):
    site.mapping("apples", code=DAILY)
    configured("apples", more='[schedule.mappings.aples]\nfull = ["0 5 * * *"]\n')
    code, _, err = call("schedule", "--json")
    assert code == 78
    assert "did you mean 'apples'" in err


def test_invalid_cron_expression_is_refused(call, configured):
    configured(more='[schedule]\nmaintenance = "sunday"\n')
    code, _, err = call("schedule", "--json")
    assert code == 78
    assert "cron expression" in err


def test_list_without_schedules_says_so(site, call, configured):
    site.mapping("apples")
    configured("apples")
    assert call("schedule", "--list")[:2] == (0, "no mapping that is on has a schedule\n")
