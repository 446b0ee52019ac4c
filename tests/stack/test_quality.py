"""Rows that break a rule, on the real stack: they become dead letters, are counted and reported."""

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sink_stack.stack import sink_runner
from sink_stack.testing_stack import StackUnderTest

from ..support.waits import eventually
from .runner_process import ROOT, fetch_row, run_runner

pytestmark = pytest.mark.stack

Connection = psycopg.Connection[Any]
HINTS = "SELECT count(*) FROM eligibility_hints WHERE scheme_code = 'QUALITY'"
NAMES = ("eligibility-snapshots", "golden-records")
SECRET = "Zarathustra-17"


class Operator:
    """Runs `sink-runner quality` beside the runner."""

    def __init__(self, stack: StackUnderTest) -> None:
        self._environ = {**os.environ, **stack.env, "COLUMNS": "160"}

    def quality(self, *options: str) -> subprocess.CompletedProcess[str]:
        command = sink_runner("quality", *options, *NAMES)
        return subprocess.run(
            command, cwd=ROOT, env=self._environ, capture_output=True, text=True, check=False
        )

    def counts(self) -> dict[tuple[str, str, str], int]:
        reports = json.loads(self.quality("--json").stdout)
        return {
            (report["mapping"], count["rule"], count["column"]): count["rows"]
            for report in reports
            for count in report["counts"]
        }


@pytest.fixture(scope="module")
def operator(stack: StackUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    log = tmp_path_factory.mktemp("runner") / "log"
    with run_runner(stack.env, log, "--only", ",".join(NAMES), mappings=len(NAMES)):
        yield Operator(stack)
    assert SECRET not in log.read_text()


@pytest.fixture(scope="module")
def portal(stack: StackUnderTest, operator: Operator) -> Iterator[Connection]:
    """The portal; afterwards the dead letters and counts of these tests are deleted."""
    with stack.admin("smart_citizen") as connection:
        (last,) = fetch_row(connection, "SELECT coalesce(max(dlq_id), 0) FROM sink.dead_letter")
        counts = connection.execute("SELECT * FROM sink.quality_count").fetchall()
        yield connection
        connection.execute("DELETE FROM sink.dead_letter WHERE dlq_id > %s", (last,))
        connection.execute("DELETE FROM sink.quality_count")
        for count in counts:
            connection.execute("INSERT INTO sink.quality_count VALUES (%s, %s, %s, %s, %s)", count)


@pytest.fixture(scope="module")
def warehouse(
    stack: StackUnderTest, operator: Operator, portal: Connection
) -> Iterator[Connection]:
    """The warehouse; afterwards the rows of these tests are deleted."""
    with stack.admin("smart_warehouse") as connection:
        connection.execute(
            "INSERT INTO scheme_master (scheme_code, scheme_name, category) "
            "VALUES ('QUALITY', 'A scheme', 'FOOD')"
        )
        yield connection
        connection.execute("DELETE FROM scheme_master WHERE scheme_code = 'QUALITY'")
        connection.execute("DELETE FROM golden_records WHERE full_name = %s", (SECRET,))
        eventually(lambda: fetch_row(portal, HINTS) == (0,))


def evaluate(warehouse: Connection, status: str, score: str | None) -> None:
    warehouse.execute(
        "INSERT INTO eligibility.eligibility_snapshots (family_id, scheme_code, evaluation_status, "
        "eligibility_score, confidence_score, explanation) "
        "VALUES (%s, 'QUALITY', %s, %s, 0.5, 'because')",
        (uuid4(), status, score),
    )


def test_each_rule_is_counted_and_reported(
    operator: Operator, warehouse: Connection, portal: Connection
) -> None:
    before = operator.counts()
    for status, score in (
        ("RULE_ELIGIBLE", "0.5"),
        ("RULE_ELIGIBLE", None),
        ("RULE_ELIGIBLE", "1.5"),
        ("RULE_ELIGIBLE", "-0.5"),
        (SECRET, "0.5"),
    ):
        evaluate(warehouse, status, score)
    warehouse.execute(
        "INSERT INTO golden_records (jan_aadhaar, full_name, created_at) "
        "VALUES ('019999999999', %s, localtimestamp + interval '1 hour')",
        (SECRET,),
    )
    expected = {
        ("eligibility-snapshots", "default", "eligibility_score"): 1,
        ("eligibility-snapshots", "maximum", "eligibility_score"): 1,
        ("eligibility-snapshots", "minimum", "eligibility_score"): 1,
        ("eligibility-snapshots", "one_of", "evaluation_status"): 1,
        ("golden-records", "updated_at not before created_at", ""): 1,
        ("golden-records", "default", "gender"): 0,
    }
    eventually(
        lambda: all(
            operator.counts().get(key, 0) - before.get(key, 0) == n for key, n in expected.items()
        )
    )
    assert fetch_row(portal, HINTS) == (2,)
    texts = "SELECT string_agg(error_message || stack_trace, ' ') FROM sink.dead_letter"
    assert SECRET not in fetch_row(portal, texts)[0]


def test_quality_prints_counts_and_strict_fails(operator: Operator) -> None:
    printed = operator.quality()
    assert (printed.returncode, printed.stderr) == (0, "")
    assert "maximum" in printed.stdout
    assert SECRET not in printed.stdout
    assert operator.quality("--strict").returncode == 1
