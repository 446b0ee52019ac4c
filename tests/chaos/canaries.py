"""People whose values no policy lets through, and all that may go wrong with their rows."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID, uuid5

import psycopg
from confluent_kafka import Producer
from kafka import KafkaConsumer

from ..stack.arena import until
from ..stack.writes import insert
from .ground import Ground

BAND = "ZQ7CANARYBAND"
TOPIC = "smart_warehouse.public.golden_records"
_NAMES = UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")
_SECONDS = 20
_FAILING = 3
_CHECK, _RAISE, _UNIQUE = "999901", "999902", "999903"
_LETTERS = "SELECT count(*) FROM sync_dlq WHERE status = 'OPEN' AND partition IS NOT NULL"
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
_PLUGIN = '''
"""Fails on some rows, and quotes them."""
from sink_runner.errors import EventError
from sink_runner.plugin import Verdict, hookimpl

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
    return Verdict.PASS

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

    def secrets(self) -> dict[str, str]:
        name = f"person {self.number}"
        return {
            f"Aadhaar of {name}": self.aadhaar,
            f"mobile number of {name}": self.mobile,
            f"e-mail of {name}": self.email.partition("@")[0],
        }

    def told(self) -> str:
        """As somebody may write it into a free text."""
        return f"Of {self.aadhaar}: call {self.mobile} or {self.email}."


WAREHOUSE = [Person(number) for number in range(10)]
PORTAL = [Person(number) for number in range(10, 20)]


def secrets(people: list[Person]) -> dict[str, str]:
    return {name: value for one in people for name, value in one.secrets().items()}


def write(ground: Ground) -> None:
    """Rows of both sides that go the whole way, and rows that fail on it."""
    warehouse, citizen = ground.arena.warehouse, ground.arena.citizen
    for person, city in zip(WAREHOUSE, ("Kota", "Value", "Ours", "Cause"), strict=False):
        golden = {"gr_id": person.key, "jan_aadhaar": person.aadhaar, "full_name": "Canary"}
        values = {"mobile_number": person.mobile, "email": person.email, "city_village": city}
        insert(warehouse, "public.golden_records", {**golden, **values})
        profile = {"gr_id": person.key, "family_id": person.key, "profile_data": "{}"}
        insert(warehouse, "public.profile_360", {**profile, "inferred_income_band": BAND})
    with _refusing(ground):
        for person, pincode in zip(
            PORTAL, ("302001", _CHECK, _RAISE, _UNIQUE, _UNIQUE), strict=False
        ):
            _register(citizen, person, pincode)
        _wait_for_letters(ground)
    family = {"citizen_id": PORTAL[0].key, "family_id": WAREHOUSE[0].key, "is_family_head": True}
    insert(citizen, "public.citizen_identity_map", family)
    alert = {"alert_id": PORTAL[0].key, "family_id": WAREHOUSE[0].key, "alert_type": "NUDGE"}
    insert(
        warehouse,
        "alerts.ml_alert_outbox",
        {**alert, "severity": "LOW", "message": WAREHOUSE[0].told()},
    )
    feedback = {"citizen_id": PORTAL[0].key, "type": "COMPLAINT", "message": PORTAL[0].told()}
    insert(citizen, "public.feedback", feedback)


def _register(citizen: psycopg.Connection, person: Person, pincode: str) -> None:
    shared = PORTAL[3].email if pincode == _UNIQUE else person.email
    row = {"id": person.key, "aadhaar_number": person.aadhaar, "mobile_number": person.mobile}
    more = {"email": shared, "full_name": "Canary", "verification_status": "VERIFIED"}
    insert(citizen, "public.citizens", {**row, **more, "pincode": pincode})


@contextmanager
def _refusing(ground: Ground) -> Iterator[None]:
    ground.arena.warehouse.execute(_REFUSE)
    try:
        yield
    finally:
        ground.arena.warehouse.execute(_ADMIT)


def _wait_for_letters(ground: Ground) -> None:
    """Three from the portal's rows, three from the plugin."""
    for connection in (ground.arena.warehouse, ground.arena.citizen):
        found = until(partial(_has_letters, connection), _SECONDS)
        assert found, "\n".join([connection.info.dbname, *ground.arena.letters()])


def _has_letters(connection: psycopg.Connection) -> bool:
    ((count,),) = connection.execute(_LETTERS).fetchall()
    return bool(count >= _FAILING)


def spoil(ground: Ground) -> None:
    """Messages that nobody can read, with a canary in them."""
    value = _message(ground, WAREHOUSE[0].aadhaar.encode())
    producer = Producer({"bootstrap.servers": ground.stack.kafka})
    unknown = value[:1] + (0x7FFF_0002).to_bytes(4, "big") + value[5:]
    for spoilt in (value[:-9], unknown, WAREHOUSE[0].told().encode()):
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
    config.write_text(f'{text}\n[log]\nlevel = "debug"\n', encoding="utf-8")
    shutil.copytree(root / "ranger-policies", folder / "ranger-policies")
    site = folder / "site"
    info = site / "sink_quoting-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "sink_quoting.py").write_text(_PLUGIN, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sink-quoting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sink_runner.v1]\nquoting = sink_quoting\n")
    return {"SINK_CONFIG": str(config), "PYTHONPATH": str(site), "PYTHONFAULTHANDLER": "1"}
