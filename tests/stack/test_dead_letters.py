"""A rejected row on the real stack: listed, explained, replayed or superseded, always masked."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from kafka import KafkaConsumer, TopicPartition
from sink_stack.stack import sink_runner
from sink_stack.testing_stack import StackUnderTest

from ..support.waits import eventually
from .runner_process import ROOT, fetch_row, run_runner

pytestmark = pytest.mark.stack

Connection = psycopg.Connection[Any]
TOPIC = "sink.dead-letters.smart_warehouse-to-smart_citizen"
MAPPING = "golden-records"
NUMBER = "019876598765"
NAME = "Zarathustra Sevenstein"
STATUSES = "SELECT array_agg(status::text ORDER BY dlq_id) FROM sink.dead_letter WHERE dlq_id > %s"
TABLE_TEXT = "SELECT string_agg(t::text, ' ') FROM {} t"


class Operator:
    """Runs `dlq` commands beside the runner and keeps their output."""

    def __init__(self, stack: StackUnderTest) -> None:
        self._environ = {**os.environ, **stack.env, "COLUMNS": "200"}
        self.output = ""

    def dlq(self, *arguments: str) -> tuple[int, str]:
        command = sink_runner("dlq", *arguments)
        done = subprocess.run(
            command, cwd=ROOT, env=self._environ, capture_output=True, text=True, check=False
        )
        self.output += done.stdout + done.stderr
        return done.returncode, done.stdout


class RejectingPortal:
    """The databases, the runner's log, and the dead letters of this test."""

    def __init__(self, warehouse: Connection, portal: Connection, log: Path) -> None:
        self.warehouse, self.portal, self.log = warehouse, portal, log
        (self.last,) = fetch_row(portal, "SELECT coalesce(max(dlq_id), 0) FROM sink.dead_letter")

    def dead_letters(self) -> list[str] | None:
        found: list[str] | None = fetch_row(self.portal, STATUSES, self.last)[0]
        return found

    def district(self, record: Any) -> int | None:
        found = fetch_row(
            self.portal, "SELECT district_id FROM profile_data WHERE record_id = %s", record
        )
        return found and int(found[0])


@pytest.fixture
def rejecting(stack: StackUnderTest, tmp_path: Path) -> Iterator[RejectingPortal]:
    """A portal with a constraint that rejects district ids from 900, and a running mapping."""
    log = tmp_path / "log"
    with stack.admin("smart_warehouse") as warehouse, stack.admin("smart_citizen") as portal:
        portal.execute("ALTER TABLE profile_data ADD CONSTRAINT known CHECK (district_id < 900)")
        with run_runner(stack.env, log, "--only", MAPPING, mappings=1):
            # The runner has created the table of dead letters by now.
            created = RejectingPortal(warehouse, portal, log)
            yield created
            warehouse.execute("DELETE FROM golden_records WHERE jan_aadhaar = %s", (NUMBER,))
            count = "SELECT count(*) FROM profile_data WHERE full_name = %s"
            eventually(lambda: fetch_row(portal, count, NAME) == (0,))
        portal.execute("ALTER TABLE profile_data DROP CONSTRAINT IF EXISTS known")
        portal.execute("DELETE FROM sink.dead_letter WHERE dlq_id > %s", (created.last,))


def test_rejected_row_is_replayed_after_repair(
    stack: StackUnderTest, rejecting: RejectingPortal
) -> None:
    operator = Operator(stack)
    record, dead_letter = insert_rejected(rejecting)
    published = read_published(stack, dead_letter)
    code, out = operator.dlq("list", "--mapping", MAPPING, "--json")
    assert dead_letter in [one["id"] for one in json.loads(out)]
    code, out = operator.dlq("show", dead_letter)
    assert "***MASKED***" in out
    code, out = operator.dlq("explain", dead_letter, "--json")
    assert code == 1
    assert {one["name"]: one["state"] for one in json.loads(out)["steps"]}["write"] == "FAILED"

    assert rejecting.district(record) is None
    rejecting.portal.execute("ALTER TABLE profile_data DROP CONSTRAINT known")
    assert operator.dlq("explain", dead_letter)[0] == 0
    code, out = operator.dlq("replay", dead_letter, "--wait")
    assert (code, out) == (0, f"{dead_letter}: replayed (1 tries)\n")
    assert rejecting.dead_letters() == ["REPLAYED"]
    assert rejecting.district(record) == 999
    assert_masked_everywhere(rejecting, operator, published)


def test_correction_supersedes_the_dead_letter(
    stack: StackUnderTest, rejecting: RejectingPortal
) -> None:
    record, dead_letter = insert_rejected(rejecting)
    rejecting.warehouse.execute(
        "UPDATE golden_records SET district_id = 8 WHERE gr_id = %s", (record,)
    )
    eventually(lambda: rejecting.dead_letters() == ["SUPERSEDED"])
    assert rejecting.district(record) == 8
    code, out = Operator(stack).dlq("show", dead_letter, "--json")
    assert (code, json.loads(out)["status"]) == (0, "SUPERSEDED")


def insert_rejected(rejecting: RejectingPortal) -> tuple[Any, str]:
    """Insert a golden record that the portal rejects; return its key and its dead letter's id."""
    (record,) = fetch_row(
        rejecting.warehouse,
        "INSERT INTO golden_records (jan_aadhaar, full_name, district_id) "
        "VALUES (%s, %s, 999) RETURNING gr_id",
        NUMBER,
        NAME,
    )
    eventually(lambda: rejecting.dead_letters() == ["OPEN"])
    (number,) = fetch_row(rejecting.portal, "SELECT max(dlq_id) FROM sink.dead_letter")
    return record, f"smart_citizen/{number}"


def read_published(stack: StackUnderTest, dead_letter: str) -> bytes:
    """Return the published record of the dead letter."""
    consumer = KafkaConsumer(bootstrap_servers=stack.kafka, enable_auto_commit=False)
    partition = TopicPartition(TOPIC, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    deadline = time.monotonic() + 30
    try:
        while time.monotonic() < deadline:
            for record in consumer.poll(timeout_ms=200).get(partition, ()):
                headers = dict(record.headers)
                if headers["sink.dlq-id"].decode() == dead_letter:
                    assert (
                        headers["__connect.errors.topic"]
                        == b"smart_warehouse.public.golden_records"
                    )
                    assert headers["sink.sqlstate"] == b"23514"
                    return bytes(repr(headers), "utf-8") + record.key + record.value
    finally:
        consumer.close()
    raise AssertionError("the dead letter was not published")


def assert_masked_everywhere(
    rejecting: RejectingPortal, operator: Operator, published: bytes
) -> None:
    """Assert that no output, log, record or table contains an unmasked value."""
    texts = [operator.output, rejecting.log.read_text(), published.decode(errors="replace")]
    texts += [
        fetch_row(rejecting.portal, TABLE_TEXT.format(table))[0] or ""
        for table in ("sink.dead_letter", "sink.audit_log")
    ]
    texts += [
        fetch_row(
            rejecting.portal, "SELECT jan_aadhaar FROM profile_data WHERE full_name = %s", NAME
        )[0]
    ]
    assert all(texts)
    for text in texts:
        for secret in (NUMBER, NUMBER.encode().hex()):
            assert secret not in text
    for text in texts[:-1]:
        assert NAME not in text
