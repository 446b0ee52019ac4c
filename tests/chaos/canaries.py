"""Persons with unique values, and failures of every kind in processing their rows."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from uuid import UUID, uuid5

import psycopg
from confluent_kafka import Producer
from kafka import KafkaConsumer
from sink_stack.stack import sink_runner

from ..stack.deployment import wait_until
from ..stack.writes import delete, insert, update
from .harness import Harness

INCOME_BAND = "ZQ7CANARYBAND"
TOPIC = "smart_warehouse.public.golden_records"
_NAMESPACE = UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")
_TIMEOUT_SECONDS = 20
_SCHEDULE_SECONDS = 120
_BATCH_ENDED = re.compile("batch_(?:finished|failed)")
_EXPECTED_DEAD_LETTERS = 3
_CHECK_PINCODE, _RAISE_PINCODE, _UNIQUE_PINCODE = "999901", "999902", "999903"
# A unique violation is deferred until the other row has another value.
_COUNT_DEAD_LETTERS = """
SELECT count(*) FROM sink.dead_letter WHERE partition IS NOT NULL
AND (status = 'OPEN' OR status = 'PARKED' AND error_message LIKE '%unique constraint%')
"""
_GOLDEN_RECORD = "SELECT 1 FROM golden_records WHERE jan_aadhaar = %s"
_ADD_REJECTIONS = f"""
ALTER TABLE golden_records ADD CONSTRAINT canary CHECK (pincode <> '{_CHECK_PINCODE}') NOT VALID;
CREATE UNIQUE INDEX canary_once ON golden_records (email) WHERE pincode = '{_UNIQUE_PINCODE}';
CREATE FUNCTION canary() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'refused: %', NEW USING DETAIL = NEW::text, HINT = NEW.email; END $$;
CREATE TRIGGER canary BEFORE INSERT OR UPDATE ON golden_records
  FOR EACH ROW WHEN (NEW.pincode = '{_RAISE_PINCODE}') EXECUTE FUNCTION canary();
"""
_DROP_REJECTIONS = """
DROP FUNCTION canary() CASCADE;
DROP INDEX canary_once;
ALTER TABLE golden_records DROP CONSTRAINT canary;
"""
_VERBOSE_CONFIG = """
[log]
level = "debug"
[schedule.mappings.golden-records]
changed = ["* * * * *"]
[schedule.mappings.feedback]
changed = ["* * * * *"]
"""
_PLUGIN = '''
"""Fails on some rows and quotes them in the error messages."""
from sink_runner.errors import EventError
from sink_runner.plugin import FilterResult, hookimpl

@hookimpl
def sink_filter(event):
    row = dict(event.row)
    match row.get("city_village"):
        case "Value":
            raise ValueError(f"no: {row}")
        case "Ours":
            raise EventError(f"no: {row}")
        case "Cause":
            try:
                raise KeyError(row["jan_aadhaar"])
            except KeyError as error:
                error.add_note(str(row))
                raise RuntimeError(str(row)) from error
    return FilterResult.PASS

@hookimpl
def sink_event_failed(event, error):
    raise ValueError(f"no: {event} {error}")
'''


@dataclass(frozen=True, slots=True)
class Person:
    """A person whose values are unique, so that a search for them has no false findings."""

    number: int

    @property
    def key(self) -> str:
        return str(uuid5(_NAMESPACE, str(self.number)))

    @property
    def aadhaar(self) -> str:
        return f"99117722{self.number:02}55"

    @property
    def mobile(self) -> str:
        return f"98712034{self.number:02}"

    @property
    def email(self) -> str:
        return f"zq7canary{self.number:02}x@example.in"

    @property
    def name(self) -> str:
        return f"Zqname{self.number:02}x"

    @property
    def birth_date(self) -> date:
        return date(1900 + self.number, 2, 17)

    @property
    def street(self) -> str:
        return f"{self.number:02} Zqcanary Marg"

    def masked_values(self) -> dict[str, str]:
        """Return the values that the policies mask in every target but golden_records."""
        return self._label(
            {"Aadhaar": self.aadhaar, "mobile": self.mobile, "e-mail": self.email.split("@")[0]}
        )

    def name_values(self) -> dict[str, str]:
        """Return the values that the policies permit in both databases and nowhere else."""
        return self._label(
            {
                "name": self.name,
                "birth": self.birth_date.isoformat(),
                "birth in Python": repr(self.birth_date),
            }
        )

    def portal_values(self) -> dict[str, str]:
        """Return the values that never leave the portal's database."""
        return self._label({"street": self.street})

    def _label(self, values: Mapping[str, str]) -> dict[str, str]:
        return {f"{kind} of person {self.number}": value for kind, value in values.items()}

    def free_text(self) -> str:
        """Return a free text with values that the runner redacts."""
        return f"Of {self.aadhaar}: call {self.mobile} or {self.email}."

    def describe(self) -> str:
        return f"{self.name}, born {self.birth_date}, {self.street}. {self.free_text()}"


WAREHOUSE = [Person(number) for number in range(10)]
PORTAL = [Person(number) for number in range(10, 20)]
ValueKind = Callable[[Person], dict[str, str]]


def values_of(people: list[Person], *kinds: ValueKind) -> dict[str, str]:
    """Return the values of these kinds, or of all kinds, by a name that can be reported."""
    chosen = kinds or (Person.masked_values, Person.name_values, Person.portal_values)
    return {
        name: value for person in people for kind in chosen for name, value in kind(person).items()
    }


def write_rows(harness: Harness) -> None:
    """Insert rows of both sides that are applied, and rows that fail inside `reject_rows`."""
    warehouse, citizen = harness.deployment.warehouse, harness.deployment.citizen
    for person, city in zip(WAREHOUSE, ("Kota", "Value", "Ours", "Cause"), strict=False):
        golden = {"gr_id": person.key, "jan_aadhaar": person.aadhaar, "full_name": person.name}
        values = {"date_of_birth": person.birth_date, "city_village": city}
        values |= {"mobile_number": person.mobile, "email": person.email}
        insert(warehouse, "public.golden_records", {**golden, **values})
        profile = {"gr_id": person.key, "family_id": person.key, "profile_data": "{}"}
        insert(warehouse, "public.profile_360", {**profile, "inferred_income_band": INCOME_BAND})
    pincodes = ("302001", _CHECK_PINCODE, _RAISE_PINCODE, _UNIQUE_PINCODE, _UNIQUE_PINCODE)
    for person, pincode in zip(PORTAL, pincodes, strict=False):
        _register(citizen, person, pincode)
    _wait_for_dead_letters(harness)
    family = {"citizen_id": PORTAL[0].key, "family_id": WAREHOUSE[0].key, "is_family_head": True}
    insert(citizen, "public.citizen_identity_map", family)
    alert = {"alert_id": PORTAL[0].key, "family_id": WAREHOUSE[0].key, "alert_type": "NUDGE"}
    insert(
        warehouse,
        "alerts.ml_alert_outbox",
        {**alert, "severity": "LOW", "message": WAREHOUSE[0].free_text()},
    )
    _make_conflicts(harness)
    feedback = {"citizen_id": PORTAL[0].key, "type": "COMPLAINT", "message": PORTAL[0].free_text()}
    insert(citizen, "public.feedback", feedback)


def _make_conflicts(harness: Harness) -> None:
    """Change a person's name on both sides, and delete another person."""
    warehouse, citizen = harness.deployment.warehouse, harness.deployment.citizen
    changed, deleted = PORTAL[7:9]
    for person in (changed, deleted):
        _register(citizen, person, "302001")
        assert wait_until(partial(_has_golden_record, warehouse, person), _TIMEOUT_SECONDS), (
            harness.deployment.log_tail()
        )
    with citizen.transaction():
        by_portal = {"full_name": f"{changed.name} of the portal"}
        update(citizen, "public.citizens", ("id", changed.key), by_portal)
        by_warehouse = {"full_name": f"{changed.name} of the warehouse"}
        update(warehouse, "golden_records", ("jan_aadhaar", changed.aadhaar), by_warehouse)
    delete(citizen, "public.citizens", ("id", deleted.key))


def _has_golden_record(warehouse: psycopg.Connection, person: Person) -> bool:
    return warehouse.execute(_GOLDEN_RECORD, (person.aadhaar,)).fetchone() is not None


def _register(citizen: psycopg.Connection, person: Person, pincode: str) -> None:
    email = PORTAL[3].email if pincode == _UNIQUE_PINCODE else person.email
    identity = {"id": person.key, "aadhaar_number": person.aadhaar, "mobile_number": person.mobile}
    account = {"email": email, "full_name": person.name, "verification_status": "VERIFIED"}
    address = {
        "date_of_birth": person.birth_date,
        "address_line1": person.street,
        "pincode": pincode,
    }
    insert(citizen, "public.citizens", {**identity, **account, **address})


@contextmanager
def reject_rows(harness: Harness) -> Iterator[None]:
    """Let a constraint, an index and a trigger of golden_records reject rows during the block."""
    harness.deployment.warehouse.execute(_ADD_REJECTIONS)
    try:
        yield
    finally:
        harness.deployment.warehouse.execute(_DROP_REJECTIONS)


@contextmanager
def run_schedule(harness: Harness, variables: Mapping[str, str]) -> Iterator[None]:
    """Run `sink-runner schedule` during the block, and wait until it has run both batches.

    It logs to schedule.log in the folder of the runner's log.
    """
    log = harness.deployment.log.with_name("schedule.log")
    with log.open("wb") as stream:
        process = subprocess.Popen(
            sink_runner("schedule"),
            cwd=harness.deployment.root,
            env={**harness.deployment.environment, **variables},
            stdout=stream,
            stderr=stream,
        )
    try:
        yield
        ended = wait_until(
            lambda: len(_BATCH_ENDED.findall(log.read_text())) > 1, _SCHEDULE_SECONDS
        )
        assert ended, log.read_text()
    finally:
        process.terminate()
        process.wait(_SCHEDULE_SECONDS)


def _wait_for_dead_letters(harness: Harness) -> None:
    for connection in (harness.deployment.warehouse, harness.deployment.citizen):
        complete = wait_until(partial(_has_dead_letters, connection), _TIMEOUT_SECONDS)
        assert complete, "\n".join(
            [connection.info.dbname, *harness.deployment.describe_dead_letters()]
        )


def _has_dead_letters(connection: psycopg.Connection) -> bool:
    ((count,),) = connection.execute(_COUNT_DEAD_LETTERS).fetchall()
    return bool(count >= _EXPECTED_DEAD_LETTERS)


def send_undecodable(harness: Harness) -> None:
    """Send messages with a person's values that cannot be decoded."""
    value = _read_message(harness, WAREHOUSE[0].aadhaar.encode())
    producer = Producer({"bootstrap.servers": harness.stack.kafka})
    unknown = value[:1] + (0x7FFF_0002).to_bytes(4, "big") + value[5:]
    for undecodable in (value[:-9], unknown, WAREHOUSE[0].describe().encode()):
        producer.produce(TOPIC, key=WAREHOUSE[0].aadhaar.encode(), value=undecodable)
    assert producer.flush(_TIMEOUT_SECONDS) == 0


def _read_message(harness: Harness, content: bytes) -> bytes:
    consumer = KafkaConsumer(
        TOPIC, bootstrap_servers=harness.stack.kafka, auto_offset_reset="earliest"
    )
    try:
        return next(
            bytes(record.value)
            for polled in iter(lambda: consumer.poll(timeout_ms=500), None)
            for records in polled.values()
            for record in records
            if record.value and content in record.value
        )
    finally:
        consumer.close()


def write_verbose_config(root: Path, folder: Path) -> Mapping[str, str]:
    """Configure a runner at level debug, with a plugin that quotes rows; return its variables."""
    text = (root / "sink-runner.toml").read_text(encoding="utf-8")
    config = folder / "sink-runner.toml"
    config.write_text(text + _VERBOSE_CONFIG, encoding="utf-8")
    shutil.copytree(root / "ranger-policies", folder / "ranger-policies")
    site = folder / "site"
    info = site / "sink_quoting-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "sink_quoting.py").write_text(_PLUGIN, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sink-quoting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sink_runner.v1]\nquoting = sink_quoting\n")
    return {"SINK_CONFIG": str(config), "PYTHONPATH": str(site), "PYTHONFAULTHANDLER": "1"}
