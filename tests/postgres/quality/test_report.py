"""The report of `sink-runner quality`, and its exit code."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sink_runner.cli.program import ADVICE
from sink_runner.loading import discovery
from sink_runner.quality.report import read_report
from sink_runner.testing import TargetHarness, create

from ...support.plugin_folders import MAPPINGS

pytestmark = pytest.mark.postgres
CODE = """
from sink_runner.plugin import *

@hookimpl
def sink_mapping():
    return TableMapping(
        source="north.public.people", target="south.{schema}.t", key=("id",),
        conflict={conflict},
        columns=(Column("id"), Column("score", maximum=9), Column("level", default="LOW"),
                 Column("changed")),
        rules=(Rule("not both", lambda row: row["score"] or row["level"], ("score", "level")),),
    )
"""
DDL = "id int PRIMARY KEY, score int, level text, changed timestamp"
NOW = datetime.now(UTC).replace(tzinfo=None)
ROW = {"id": 1, "score": 1, "level": "LOW", "changed": NOW}


class ReportedMapping:
    """A target table, the plugin that fills it and the command that reports on it."""

    def __init__(self, name: str, schema: str, sink: TargetHarness, call: Callable) -> None:
        self.name = name
        self.schema = schema
        self.sink = sink
        self.sink.now = NOW
        self.call = call

    def report(self, *options: str) -> dict[str, Any]:
        code, out, err = self.call("quality", "--json", *options)
        assert (code, err) == (0, "")
        (found,) = json.loads(out)
        assert found["mapping"] == self.name
        return dict(found)

    def counts(self, *options: str) -> set[tuple[str, str, int]]:
        counts = self.report(*options)["counts"]
        return {(count["rule"], count["column"], count["rows"]) for count in counts}

    def send_old_row(self, days: float) -> None:
        self.sink.send(create(**ROW | {"id": 9, "changed": NOW - timedelta(days=days)}))


Make = Callable[..., ReportedMapping]


@pytest.fixture
def make(postgres, site, scratch, configured: Callable, call: Callable) -> Iterator[Make]:
    sinks: list[TargetHarness] = []

    def make_mapping(
        conflict: str = 'newest_wins("changed")', ddl: str = DDL, settings: str = ""
    ) -> ReportedMapping:
        scratch.table(ddl)
        name = f"people-{scratch.schema.replace('_', '-')}"
        site.plugin(name, CODE.format(schema=scratch.schema, conflict=conflict))
        dsn = scratch.dsn
        more = f'[databases.south]\ndsn = "{dsn}"\nreader_dsn = "{dsn}"\n'
        configured(name, more=more + settings.format(name=name))
        sinks.append(
            TargetHarness(name, dsn=dsn, admin_dsn=postgres.dsn(scratch.admin.info.dbname))
        )
        return ReportedMapping(name, scratch.schema, sinks[-1], call)

    yield make_mapping
    for sink in sinks:
        sink.close()


class TestCounts:
    def test_rules_and_defaults_are_distinguished(self, make: Make) -> None:
        target = make()
        invalid = [{"score": 10}, {"score": 11}, {"score": 0, "level": None}]
        target.sink.send(*(create(**ROW | {"id": i} | row) for i, row in enumerate(invalid)))
        target.sink.send(create(**ROW | {"id": 9, "level": None}))
        assert target.counts() == {
            ("maximum", "score", 2),
            ("not both", "", 1),
            ("default", "level", 1),
        }
        found = target.report()
        assert (found["broken"], found["defaults"], found["open_dead_letters"]) == (3, 1, 3)
        assert found["counts"][0]["last"] == NOW.date().isoformat()

    def test_days_option_limits_counts(self, make: Make) -> None:
        target = make()
        for days in (0, 1, 2):
            target.sink.now = NOW - timedelta(days=days)
            target.sink.send(create(**ROW | {"id": days, "score": 10}))
        found = {target.counts("--days", days).pop()[2]: days for days in ("1", "2", "30")}
        assert found == {1: "1", 2: "2", 3: "30"}

    def test_settled_and_deferred_events_are_not_open(self, make: Make) -> None:
        target = make()
        target.sink.send(*(create(**ROW | {"id": i, "score": 10}) for i in range(3)))
        for status in ("DISCARDED", "PARKED"):
            target.sink.admin.execute(
                "UPDATE sink.dead_letter SET status = %s WHERE dlq_id = "
                "(SELECT min(dlq_id) FROM sink.dead_letter WHERE flow = %s AND status = 'OPEN')",
                (status, target.name),
            )
        found = target.report()
        assert (found["open_dead_letters"], found["waiting"]) == (1, 1)

    def test_untouched_database_has_no_counts(
        self, make: Make, postgres, configured: Callable
    ) -> None:
        target = make()
        name = postgres.fresh_database("smart_citizen", migrated=False)
        with psycopg.connect(postgres.dsn(name), autocommit=True) as admin:
            admin.execute("DROP TABLE IF EXISTS sink.quality_count")
            admin.execute(f"CREATE SCHEMA {target.schema}".encode())
            admin.execute(f"CREATE TABLE {target.schema}.t ({DDL})".encode())
        dsn = postgres.dsn(name)
        configured(target.name, more=f'[databases.south]\ndsn = "{dsn}"\nreader_dsn = "{dsn}"\n')
        assert target.counts() == set()


class TestStale:
    @pytest.mark.parametrize(("days", "stale"), [(89.9, 0), (90.1, 1)])
    def test_row_older_than_threshold_is_stale(self, make: Make, days: float, stale: int) -> None:
        target = make()
        target.sink.send(create(**ROW))
        target.send_old_row(days)
        assert target.report()["stale"] == {"column": "changed", "days": 90, "rows": stale, "of": 2}

    @pytest.mark.parametrize(
        ("settings", "stale"),
        [
            ("[quality]\nstale_after_days = 5", 1),
            ("[quality]\nstale_after_days = 5\n[quality.mappings.{name}]\nstale_after_days = 7", 0),
            ("[quality.mappings.{name}]\nstale_after_days = 5.5", 1),
        ],
    )
    def test_threshold_is_set_globally_or_by_mapping(
        self, make: Make, settings: str, stale: int
    ) -> None:
        target = make(settings=settings)
        target.send_old_row(6)
        assert target.report()["stale"]["rows"] == stale

    @pytest.mark.parametrize("type_", ["date", "timestamptz"])
    def test_every_time_type_can_be_stale(self, make: Make, type_: str) -> None:
        target = make(ddl=DDL.replace("timestamp", type_))
        target.send_old_row(91)
        assert target.report()["stale"]["rows"] == 1

    @pytest.mark.parametrize(
        ("conflict", "type_"), [("source_wins()", "timestamp"), ('newest_wins("changed")', "text")]
    )
    def test_target_without_sync_time_has_no_freshness(
        self, make: Make, conflict: str, type_: str
    ) -> None:
        target = make(conflict, DDL.replace("timestamp", type_))
        target.send_old_row(91)
        assert target.report()["stale"] is None


class TestCommand:
    def test_strict_fails_for_broken_rules_only(self, make: Make) -> None:
        target = make()
        target.sink.send(create(**ROW | {"level": None}))
        assert target.call("quality", "--strict")[0] == 0
        target.sink.send(create(**ROW | {"score": 10}))
        assert [target.call("quality", *strict)[0] for strict in ([], ["--strict"])] == [0, 1]

    def test_table_output_shows_the_same_counts(self, make: Make, monkeypatch) -> None:
        monkeypatch.setenv("COLUMNS", "160")
        target = make()
        target.sink.send(create(**ROW | {"score": 10}))
        target.send_old_row(91)
        code, out, _ = target.call("quality", "--wide", target.name)
        lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines()]
        assert code == 0
        assert [target.name, "1", "0", "1", "0", "1 of 1 (90 d)"] in lines
        assert [target.name, "maximum", "score", "1", NOW.date().isoformat()] in lines

    @pytest.mark.parametrize(
        ("argv", "code", "message"),
        [
            (["unknown"], 78, "plugin 'unknown' is not installed"),
            (["citizens"], 78, "plugin 'citizens' is off"),
            (["--days", "0"], 2, "Invalid value for '--days'"),
        ],
    )
    def test_invalid_argument_is_named(
        self, make: Make, argv: list[str], code: int, message: str
    ) -> None:
        found, _, err = make().call("quality", *argv)
        assert found == code
        assert message in err

    def test_threshold_of_unknown_mapping_is_reported(self, make: Make) -> None:
        target = make(settings="[quality.mappings.{name}s]\nstale_after_days = 5")
        code, _, err = target.call("quality")
        assert code == 78
        assert f"did you mean '{target.name}'?" in err

    def test_unavailable_database_is_reported_with_advice(self, make: Make, tmp_path: Path) -> None:
        target = make()
        path = tmp_path / "sink-runner.toml"
        text = path.read_text().replace(
            "[databases.south]\ndsn = ", "[databases.south]\ndsn = 'host=127.0.0.1 port=1' #"
        )
        path.write_text(text)
        code, _, err = target.call("quality")
        reason, advice = err.splitlines()
        assert (code, advice) == (1, f"sink-runner: {ADVICE}")
        assert "no connection" in reason


@pytest.mark.parametrize("folder", MAPPINGS, ids=lambda folder: folder.name)
def test_sink_role_reads_report_of_every_mapping(postgres, folder: Path) -> None:
    plugin = discovery.installed()[folder.name]
    discovery.load(plugin)
    assert plugin.mapping is not None
    name = postgres.fresh_database(like=plugin.mapping.target_table.database)
    dsn = postgres.dsn(name, role="sink_writer")
    report = read_report(plugin.name, plugin.mapping, dsn, days=1, stale_after=90)
    assert (report.broken, report.defaults, report.open_dead_letters) == (0, 0, 0)
