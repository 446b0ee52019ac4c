"""A bad row on the real stack: dead, explained, replayed or superseded; never in clear."""

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

from .running import ROOT, eventually, row, running

pytestmark = pytest.mark.stack

Connection = psycopg.Connection[Any]
TOPIC = "sink.dead-letters.smart_warehouse-to-smart_citizen"
MAPPING = "golden-records"
NUMBER = "019876598765"
NAME = "Zarathustra Sevenstein"
STATUSES = "SELECT array_agg(status::text ORDER BY dlq_id) FROM sink.dead_letter WHERE dlq_id > %s"
ALL = "SELECT string_agg(t::text, ' ') FROM {} t"


class Operator:
    """Someone with a shell beside the runner; what he was told is kept."""

    def __init__(self, stack: StackUnderTest) -> None:
        self._environ = {**os.environ, **stack.env, "COLUMNS": "200"}
        self.told = ""

    def dlq(self, *arguments: str) -> tuple[int, str]:
        command = sink_runner("dlq", *arguments)
        done = subprocess.run(
            command, cwd=ROOT, env=self._environ, capture_output=True, text=True, check=False
        )
        self.told += done.stdout + done.stderr
        return done.returncode, done.stdout


class Scene:
    """The databases, the runner's log and what was there before."""

    def __init__(self, warehouse: Connection, portal: Connection, log: Path) -> None:
        self.warehouse, self.portal, self.log = warehouse, portal, log
        (self.last,) = row(portal, "SELECT coalesce(max(dlq_id), 0) FROM sink.dead_letter")

    def dead_letters(self) -> list[str] | None:
        found: list[str] | None = row(self.portal, STATUSES, self.last)[0]
        return found

    def district(self, record: Any) -> int | None:
        found = row(
            self.portal, "SELECT district_id FROM profile_data WHERE record_id = %s", record
        )
        return found and int(found[0])


@pytest.fixture
def scene(stack: StackUnderTest, tmp_path: Path) -> Iterator[Scene]:
    """A portal that takes no district above 900, until it is mended."""
    log = tmp_path / "log"
    with stack.admin("smart_warehouse") as warehouse, stack.admin("smart_citizen") as portal:
        portal.execute("ALTER TABLE profile_data ADD CONSTRAINT known CHECK (district_id < 900)")
        with running(stack.env, log, "--only", MAPPING, mappings=1):
            made = Scene(warehouse, portal, log)  # a first runner makes the table of dead letters
            yield made
            warehouse.execute("DELETE FROM golden_records WHERE jan_aadhaar = %s", (NUMBER,))
            gone = "SELECT count(*) FROM profile_data WHERE full_name = %s"
            eventually(lambda: row(portal, gone, NAME) == (0,))
        portal.execute("ALTER TABLE profile_data DROP CONSTRAINT IF EXISTS known")
        portal.execute("DELETE FROM sink.dead_letter WHERE dlq_id > %s", (made.last,))


def test_from_the_fault_to_the_replay(stack: StackUnderTest, scene: Scene) -> None:
    operator = Operator(stack)
    record, dead_letter = made_dead(scene)
    heard = heard_of(stack, dead_letter)
    code, out = operator.dlq("list", "--mapping", MAPPING, "--json")
    assert dead_letter in [one["id"] for one in json.loads(out)]
    code, out = operator.dlq("show", dead_letter)
    assert "***MASKED***" in out
    code, out = operator.dlq("explain", dead_letter, "--json")
    assert code == 1
    assert {one["name"]: one["state"] for one in json.loads(out)["steps"]}["write"] == "FAILED"

    assert scene.district(record) is None
    scene.portal.execute("ALTER TABLE profile_data DROP CONSTRAINT known")
    assert operator.dlq("explain", dead_letter)[0] == 0
    code, out = operator.dlq("replay", dead_letter, "--wait")
    assert (code, out) == (0, f"{dead_letter}: replayed (1 tries)\n")
    assert scene.dead_letters() == ["REPLAYED"]
    assert scene.district(record) == 999
    search(scene, operator, heard)


def test_correction_supersedes_the_dead_letter(stack: StackUnderTest, scene: Scene) -> None:
    record, dead_letter = made_dead(scene)
    scene.warehouse.execute("UPDATE golden_records SET district_id = 8 WHERE gr_id = %s", (record,))
    eventually(lambda: scene.dead_letters() == ["SUPERSEDED"])
    assert scene.district(record) == 8
    code, out = Operator(stack).dlq("show", dead_letter, "--json")
    assert (code, json.loads(out)["status"]) == (0, "SUPERSEDED")


def made_dead(scene: Scene) -> tuple[Any, str]:
    """A golden record that the portal refuses, and its dead letter."""
    (record,) = row(
        scene.warehouse,
        "INSERT INTO golden_records (jan_aadhaar, full_name, district_id) "
        "VALUES (%s, %s, 999) RETURNING gr_id",
        NUMBER,
        NAME,
    )
    eventually(lambda: scene.dead_letters() == ["OPEN"])
    (number,) = row(scene.portal, "SELECT max(dlq_id) FROM sink.dead_letter")
    return record, f"smart_citizen/{number}"


def heard_of(stack: StackUnderTest, dead_letter: str) -> bytes:
    """What the topic says of the dead letter."""
    consumer = KafkaConsumer(bootstrap_servers=stack.kafka, enable_auto_commit=False)
    place = TopicPartition(TOPIC, 0)
    consumer.assign([place])
    consumer.seek_to_beginning(place)
    bound = time.monotonic() + 30
    try:
        while time.monotonic() < bound:
            for record in consumer.poll(timeout_ms=200).get(place, ()):
                heads = dict(record.headers)
                if heads["sink.dlq-id"].decode() == dead_letter:
                    assert (
                        heads["__connect.errors.topic"] == b"smart_warehouse.public.golden_records"
                    )
                    assert heads["sink.sqlstate"] == b"23514"
                    return bytes(repr(heads), "utf-8") + record.key + record.value
    finally:
        consumer.close()
    raise AssertionError("the topic was not told")


def search(scene: Scene, operator: Operator, heard: bytes) -> None:
    """Neither of the values that policies mask is in clear anywhere."""
    seen = [operator.told, scene.log.read_text(), heard.decode(errors="replace")]
    seen += [
        row(scene.portal, ALL.format(table))[0] or ""
        for table in ("sink.dead_letter", "sink.audit_log")
    ]
    seen += [
        row(scene.portal, "SELECT jan_aadhaar FROM profile_data WHERE full_name = %s", NAME)[0]
    ]
    assert all(seen)
    for text in seen:
        for secret in (NUMBER, NUMBER.encode().hex()):
            assert secret not in text
    for text in seen[:-1]:
        assert NAME not in text
