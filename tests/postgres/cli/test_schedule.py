"""`sink-runner schedule`, as a process with real databases and real batches."""

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

ROOT = Path(__file__).parents[3]
RUNNER = [sys.executable, "-m", "sink_runner"]
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
SLOW = 'streaming=False, query=Query(select="SELECT id FROM crates, pg_sleep(60) WHERE {changed}"),'
BEHIND = "UPDATE sink.schedule SET done_until = now() - interval '2 days'"


class Runner:
    """A plugin, its two tables, and the configuration that names them."""

    def __init__(self, postgres, site, folder: Path) -> None:
        self.site = site
        self.config = folder / "sink-runner.toml"
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

    def behind(self) -> None:
        """The schedule has missed two nights."""
        self.sql("smart_citizen", BEHIND)

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*RUNNER, "schedule", "--config", self.config, *arguments],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @contextmanager
    def started(self) -> Iterator[subprocess.Popen[str]]:
        """The scheduler, told to end at the latest when the block does."""
        child = subprocess.Popen(
            [*RUNNER, "schedule", "--config", self.config],
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
def runner(postgres, site, tmp_path) -> Runner:
    return Runner(postgres, site, tmp_path)


def events(told: str) -> list[dict]:
    return [json.loads(line) for line in told.splitlines() if line.startswith("{")]


def until(ready, seconds: float = 30) -> None:
    bound = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < bound
        time.sleep(0.05)


@pytest.mark.postgres
class TestWithDatabases:
    def test_once_runs_what_is_due_and_ends(self, runner):
        runner.plugin()
        first = runner.call("--once")
        assert first.returncode == 0, first.stderr
        assert runner.sql("smart_citizen", "SELECT * FROM public.crates") == []
        runner.behind()
        told = runner.call("--once")
        assert told.returncode == 0, told.stderr
        assert runner.sql("smart_citizen", "SELECT * FROM public.crates") == [(1,), (2,)]
        names = [event["event"] for event in events(told.stderr)]
        assert names == [
            "schedule_started",
            "batch_late",
            "batch_started",
            "batch_finished",
            "schedule_stopped",
        ]
        again = runner.call("--once")
        assert "batch_started" not in again.stderr

    def test_list_tells_last_run_and_next(self, runner):
        runner.plugin()
        head, line = runner.call("--list", "--wide").stdout.splitlines()
        assert head.split("  ")[0] == "NAME"
        assert line.split()[:8] == ["crates", "0", "0", "*", "*", "*", "changed", "-"]
        runner.call("--once")
        runner.behind()
        runner.call("--once")
        _, line = runner.call("--list").stdout.splitlines()
        assert line.split()[-3] == "ok"
        assert line.endswith("00:00")

    def test_a_failed_run_ends_once_with_1(self, runner):
        runner.plugin()
        runner.call("--once")
        runner.behind()
        runner.sql("smart_citizen", "ALTER TABLE public.crates ADD CHECK (id > 5)")
        runner.config.write_text(runner.config.read_text() + "tolerated_rows = 1\n")
        told = runner.call("--once")
        assert told.returncode == 1
        (failed,) = [event for event in events(told.stderr) if event["event"] == "batch_failed"]
        assert (failed["exit_code"], failed["gave_up"]) == (1, False)

    def test_sigterm_ends_running_batch_and_then_scheduler(self, runner):
        runner.plugin(SLOW)
        runner.call("--once")
        runner.behind()
        with runner.started() as child:
            until(lambda: runner.sql("smart_warehouse", SLEEPING) == [(1,)])
            began = time.monotonic()
            child.send_signal(signal.SIGTERM)
            out, _ = child.communicate(timeout=15)
            assert child.returncode == 0
            assert time.monotonic() - began < 10
        assert "batch_interrupted" in out
        until(lambda: runner.sql("smart_citizen", LOCKS) == [(0,)])
        assert runner.sql("smart_citizen", "SELECT outcome, failures FROM sink.schedule") == [
            ("interrupted", 0)
        ]

    def test_failed_scheduler_leaves_no_batch_running(self, runner):
        runner.plugin(SLOW, 'Schedule("0 0 * * *"), Schedule("0 0 1 1 *", full=True)')
        runner.call("--once")
        runner.sql("smart_citizen", f"{BEHIND} WHERE mode = 'changed'")
        with runner.started() as child:
            until(lambda: runner.sql("smart_warehouse", SLEEPING) == [(1,)])
            runner.sql("smart_citizen", "ALTER TABLE sink.schedule RENAME TO gone")
            out, _ = child.communicate(timeout=30)
        assert child.returncode == 78
        assert "UndefinedTable" in out
        until(lambda: runner.sql("smart_citizen", LOCKS) == [(0,)])

    def test_two_schedulers_run_a_batch_once(self, runner):
        runner.plugin()
        runner.call("--once")
        runner.behind()
        with runner.started(), runner.started():
            until(
                lambda: (
                    runner.sql("smart_citizen", "SELECT outcome FROM sink.schedule") == [("ok",)]
                )
            )
            time.sleep(2)
        assert runner.sql("smart_citizen", "SELECT count(*) FROM sink.batch_run") == [(1,)]


SLEEPING = (
    "SELECT count(*)::int FROM pg_stat_activity"
    " WHERE datname = current_database() AND state = 'active' AND query LIKE '%pg_sleep%'"
    " AND pid <> pg_backend_pid()"
)
LOCKS = (
    "SELECT count(*)::int FROM pg_locks JOIN pg_database d ON d.oid = database"
    " WHERE locktype = 'advisory' AND datname = current_database()"
)

# -- what needs no database --------------------------------------------------------------------

DAILY = """
from sink_runner.plugin import Schedule
from dataclasses import replace
_mapping = sink_mapping
@hookimpl
def sink_mapping():
    return replace(_mapping(), schedules=(Schedule("0 1 * * *"),))
"""


def test_the_schedules_for_programs(site, call, configured):
    site.mapping("apples", code=DAILY)
    path = configured("apples", more="[schedule]\nretries = 7\n")
    code, out, err = call("schedule", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    (one,) = told["schedules"]
    assert (one["mapping"], one["mode"], one["cron"]) == ("apples", "changed", "0 1 * * *")
    assert one["arguments"] == ["batch", "apples", "--wait", "--tolerate", "100"]
    assert one["expected_seconds"] == 3600
    assert told["rules"]["retries"] == 7
    assert {str(path), str(site.folder)} <= set(told["depends_on"])
    assert any("apples_for_tests.py" in file for file in told["depends_on"])


def test_broken_plugin_is_told_among_schedules_of_others(site, call, configured):
    site.mapping("apples", code=DAILY)
    site.plugin("pears", "import nope_nope")
    configured("apples", "pears")
    code, out, _ = call("schedule", "--json")
    told = json.loads(out)
    assert code == 78
    assert [one["mapping"] for one in told["schedules"]] == ["apples"]
    assert "nope_nope" in told["errors"][0]


def test_other_times_of_an_unknown_mapping_are_refused(site, call, configured):
    site.mapping("apples", code=DAILY)
    configured("apples", more='[schedule.mappings.aples]\nfull = ["0 5 * * *"]\n')
    code, _, err = call("schedule", "--json")
    assert code == 78
    assert "did you mean 'apples'" in err


def test_schedule_that_is_no_cron_expression_is_refused(call, configured):
    configured(more='[schedule]\nmaintenance = "sunday"\n')
    code, _, err = call("schedule", "--json")
    assert code == 78
    assert "cron expression" in err


def test_nothing_is_scheduled(site, call, configured):
    site.mapping("apples")
    configured("apples")
    assert call("schedule", "--list")[:2] == (0, "no mapping that is on has a schedule\n")
