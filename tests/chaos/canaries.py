"""People whose values no policy lets through, and all that may go wrong with their rows."""

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

from ..stack.arena import until
from ..stack.writes import delete, insert, update
from .ground import Ground

BAND = "ZQ7CANARYBAND"
TOPIC = "smart_warehouse.public.golden_records"
_NAMES = UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")
_SECONDS = 20
_SCHEDULED_SECONDS = 120
_ENDED = re.compile("batch_(?:finished|failed)")
_FAILING = 3
_CHECK, _RAISE, _UNIQUE = "999901", "999902", "999903"
# What is refused for a value that another row has waits until that row gives it up.
_LETTERS = """
SELECT count(*) FROM sink.dead_letter WHERE partition IS NOT NULL
AND (status = 'OPEN' OR status = 'PARKED' AND error_message LIKE '%unique constraint%')
"""
_GOLDEN = "SELECT 1 FROM golden_records WHERE jan_aadhaar = %s"
_REFUSE = f"""
ALTER TABLE golden_records ADD CONSTRAINT canary CHECK (pincode <> '{_CHECK}') NOT VALID;
CREATE UNIQUE INDEX canary_once ON golden_records (email) WHERE pincode = '{_UNIQUE}';
CREATE FUNCTION canary() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'refused: %', NEW USING DETAIL = NEW::text, HINT = NEW.email; END $$;
CREATE TRIGGER canary BEFORE INSERT OR UPDATE ON golden_records
  FOR EACH ROW WHEN (NEW.pincode = '{_RAISE}') EXECUTE FUNCTION canary();
"""
_ADMIT = """
DROP FUNCTION canary() CASCADE;
DROP INDEX canary_once;
ALTER TABLE golden_records DROP CONSTRAINT canary;
"""
_TALKATIVE = """
[log]
level = "debug"
[schedule.mappings.golden-records]
changed = ["* * * * *"]
[schedule.mappings.feedback]
changed = ["* * * * *"]
"""
_PLUGIN = '''
"""Fails on some rows, and quotes them."""
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
            except KeyError as fault:
                fault.add_note(str(row))
                raise RuntimeError(str(row)) from fault
    return FilterResult.PASS

@hookimpl
def sink_event_failed(event, error):
    raise ValueError(f"no: {event} {error}")
'''


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whom every search knows."""

    number: int

    @property
    def key(self) -> str:
        return str(uuid5(_NAMES, str(self.number)))

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
    def born(self) -> date:
        return date(1900 + self.number, 2, 17)

    @property
    def street(self) -> str:
        return f"{self.number:02} Zqcanary Marg"

    def masked(self) -> dict[str, str]:
        """What no target gets to see but the warehouse, which matches by it."""
        return self._of(
            {"Aadhaar": self.aadhaar, "mobile": self.mobile, "e-mail": self.email.split("@")[0]}
        )

    def named(self) -> dict[str, str]:
        """What the policies let into both databases, and nowhere else."""
        return self._of(
            {"name": self.name, "birth": self.born.isoformat(), "birth in Python": repr(self.born)}
        )

    def at_home(self) -> dict[str, str]:
        """What never leaves the portal."""
        return self._of({"street": self.street})

    def _of(self, values: Mapping[str, str]) -> dict[str, str]:
        return {f"{what} of person {self.number}": value for what, value in values.items()}

    def told(self) -> str:
        """As somebody may write it into a free text, from which numbers and e-mails are taken."""
        return f"Of {self.aadhaar}: call {self.mobile} or {self.email}."

    def whole(self) -> str:
        return f"{self.name}, born {self.born}, {self.street}. {self.told()}"


WAREHOUSE = [Person(number) for number in range(10)]
PORTAL = [Person(number) for number in range(10, 20)]
Kind = Callable[[Person], dict[str, str]]


def of(people: list[Person], *kinds: Kind) -> dict[str, str]:
    """The values of these kinds, or of all, by names of their own."""
    chosen = kinds or (Person.masked, Person.named, Person.at_home)
    return {name: value for one in people for kind in chosen for name, value in kind(one).items()}


def write(ground: Ground) -> None:
    """Rows of both sides that go the whole way, and rows that fail on it while `refusing`."""
    warehouse, citizen = ground.arena.warehouse, ground.arena.citizen
    for person, city in zip(WAREHOUSE, ("Kota", "Value", "Ours", "Cause"), strict=False):
        golden = {"gr_id": person.key, "jan_aadhaar": person.aadhaar, "full_name": person.name}
        values = {"date_of_birth": person.born, "city_village": city}
        values |= {"mobile_number": person.mobile, "email": person.email}
        insert(warehouse, "public.golden_records", {**golden, **values})
        profile = {"gr_id": person.key, "family_id": person.key, "profile_data": "{}"}
        insert(warehouse, "public.profile_360", {**profile, "inferred_income_band": BAND})
    pincodes = ("302001", _CHECK, _RAISE, _UNIQUE, _UNIQUE)
    for person, pincode in zip(PORTAL, pincodes, strict=False):
        _register(citizen, person, pincode)
    _wait_for_dead_letters(ground)
    family = {"citizen_id": PORTAL[0].key, "family_id": WAREHOUSE[0].key, "is_family_head": True}
    insert(citizen, "public.citizen_identity_map", family)
    alert = {"alert_id": PORTAL[0].key, "family_id": WAREHOUSE[0].key, "alert_type": "NUDGE"}
    insert(
        warehouse,
        "alerts.ml_alert_outbox",
        {**alert, "severity": "LOW", "message": WAREHOUSE[0].told()},
    )
    _contend(ground)
    feedback = {"citizen_id": PORTAL[0].key, "type": "COMPLAINT", "message": PORTAL[0].told()}
    insert(citizen, "public.feedback", feedback)


def _contend(ground: Ground) -> None:
    """Both sides change the name of one person, the warehouse last; another one is deleted."""
    warehouse, citizen = ground.arena.warehouse, ground.arena.citizen
    changed, deleted = PORTAL[7:9]
    for person in (changed, deleted):
        _register(citizen, person, "302001")
        assert until(partial(_is_golden, warehouse, person), _SECONDS), ground.arena.tail()
    with citizen.transaction():
        portal_s = {"full_name": f"{changed.name} of the portal"}
        update(citizen, "public.citizens", ("id", changed.key), portal_s)
        warehouse_s = {"full_name": f"{changed.name} of the warehouse"}
        update(warehouse, "golden_records", ("jan_aadhaar", changed.aadhaar), warehouse_s)
    delete(citizen, "public.citizens", ("id", deleted.key))


def _is_golden(warehouse: psycopg.Connection, person: Person) -> bool:
    return warehouse.execute(_GOLDEN, (person.aadhaar,)).fetchone() is not None


def _register(citizen: psycopg.Connection, person: Person, pincode: str) -> None:
    shared = PORTAL[3].email if pincode == _UNIQUE else person.email
    row = {"id": person.key, "aadhaar_number": person.aadhaar, "mobile_number": person.mobile}
    more = {"email": shared, "full_name": person.name, "verification_status": "VERIFIED"}
    home = {"date_of_birth": person.born, "address_line1": person.street, "pincode": pincode}
    insert(citizen, "public.citizens", {**row, **more, **home})


@contextmanager
def refusing(ground: Ground) -> Iterator[None]:
    ground.arena.warehouse.execute(_REFUSE)
    try:
        yield
    finally:
        ground.arena.warehouse.execute(_ADMIT)


@contextmanager
def scheduling(ground: Ground, more: Mapping[str, str]) -> Iterator[None]:
    """A schedule beside the runner that has run both batches when the block is left.

    Its log lies beside the runner's.
    """
    log = ground.arena.log.with_name("schedule.log")
    with log.open("wb") as stream:
        process = subprocess.Popen(
            sink_runner("schedule"),
            cwd=ground.arena.root,
            env={**ground.arena.environment, **more},
            stdout=stream,
            stderr=stream,
        )
    try:
        yield
        ended = until(lambda: len(_ENDED.findall(log.read_text())) > 1, _SCHEDULED_SECONDS)
        assert ended, log.read_text()
    finally:
        process.terminate()
        process.wait(_SCHEDULED_SECONDS)


def _wait_for_dead_letters(ground: Ground) -> None:
    """Three from the portal's rows, three from the plugin."""
    for connection in (ground.arena.warehouse, ground.arena.citizen):
        found = until(partial(_has_dead_letters, connection), _SECONDS)
        assert found, "\n".join([connection.info.dbname, *ground.arena.describe_dead_letters()])


def _has_dead_letters(connection: psycopg.Connection) -> bool:
    ((count,),) = connection.execute(_LETTERS).fetchall()
    return bool(count >= _FAILING)


def spoil(ground: Ground) -> None:
    """Messages that nobody can read, with a canary in them."""
    value = _message(ground, WAREHOUSE[0].aadhaar.encode())
    producer = Producer({"bootstrap.servers": ground.stack.kafka})
    unknown = value[:1] + (0x7FFF_0002).to_bytes(4, "big") + value[5:]
    for spoilt in (value[:-9], unknown, WAREHOUSE[0].whole().encode()):
        producer.produce(TOPIC, key=WAREHOUSE[0].aadhaar.encode(), value=spoilt)
    assert producer.flush(_SECONDS) == 0


def _message(ground: Ground, holding: bytes) -> bytes:
    consumer = KafkaConsumer(
        TOPIC, bootstrap_servers=ground.stack.kafka, auto_offset_reset="earliest"
    )
    try:
        return next(
            bytes(record.value)
            for polled in iter(lambda: consumer.poll(timeout_ms=500), None)
            for records in polled.values()
            for record in records
            if record.value and holding in record.value
        )
    finally:
        consumer.close()


def talkative(root: Path, folder: Path) -> Mapping[str, str]:
    """The environment of a runner that says all it can, with a plugin that quotes rows."""
    text = (root / "sink-runner.toml").read_text(encoding="utf-8")
    config = folder / "sink-runner.toml"
    config.write_text(text + _TALKATIVE, encoding="utf-8")
    shutil.copytree(root / "ranger-policies", folder / "ranger-policies")
    site = folder / "site"
    info = site / "sink_quoting-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "sink_quoting.py").write_text(_PLUGIN, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sink-quoting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sink_runner.v1]\nquoting = sink_quoting\n")
    return {"SINK_CONFIG": str(config), "PYTHONPATH": str(site), "PYTHONFAULTHANDLER": "1"}
