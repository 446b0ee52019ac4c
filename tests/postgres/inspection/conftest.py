"""The pipeline of a mapping `people`, fed with Avro messages, and the commands on its DLQ."""

import base64
import json
import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import psycopg
import pytest

from sink_runner.avro.schema_cache import SchemaCache
from sink_runner.config import Capture
from sink_runner.config.registry import Registry
from sink_runner.loading import discovery
from sink_runner.masking.column_origins import read_origins
from sink_runner.masking.policy import load_policies
from sink_runner.model.message import Message
from sink_runner.model.partition import Advance, Claim, Topic
from sink_runner.pipeline import MappingSetup, build_pipeline
from sink_runner.postgres.catalog import read_table
from sink_runner.postgres.migrations import migrate
from sink_runner.postgres.session import connect
from sink_runner.transform.event_source import topic_source
from sink_runner.writer.encryption import Encryptor
from sink_runner.writer.offsets import Offsets

OWN = Path(__file__).parents[3] / "ranger-policies"
KEYS = {name: bytes([number]) * 32 for number, name in enumerate(("old", "one", "two"))}
TABLES = """
CREATE DOMAIN word varchar(200);
CREATE TABLE person (id int PRIMARY KEY, full_name word, town word, note word, district word);
CREATE TABLE profile (
  id int PRIMARY KEY, full_name text, town varchar(8), note varchar(30) CHECK (note <> 'bad'),
  district int);
CREATE TABLE district (name text PRIMARY KEY, number int);
GRANT SELECT, INSERT, UPDATE, DELETE ON profile TO sink_writer;
GRANT SELECT ON person, district TO sink_reader;
ALTER PUBLICATION sink_publication ADD TABLE person;
CREATE TABLE written (n serial, id int, note text);
CREATE FUNCTION written() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.written (id, note) VALUES (new.id, new.note); RETURN new; END $$;
CREATE TRIGGER written AFTER INSERT OR UPDATE ON profile
FOR EACH ROW EXECUTE FUNCTION written();
"""
MAPPING = """
from sink_runner.plugin import *

@hookimpl
def sink_mapping():
    return TableMapping(
        source="{database}.public.person", target="{database}.public.profile", key=("id",),
        conflict=source_wins(),
        columns=(
            Column("id"), Column("full_name"), Column("town"), Column("note", maximum="y"),
            Column("district", required=True, lookup=Lookup(
                "SELECT name, number FROM district WHERE name = ANY (%s)", "{database}")),
        ),
    )

DROPPED = set()

@hookimpl
def sink_filter(event):
    return FilterResult.DROP if event.row["note"] in DROPPED else FilterResult.PASS
"""
COLUMNS = ("id", "full_name", "town", "note", "district")


def envelope_schema(database: str) -> dict[str, Any]:
    """Return the schema of Debezium's envelope of the table `person`."""
    text = ["null", "string"]
    fields = [{"name": name, "type": "int" if name == "id" else text} for name in COLUMNS]
    source = [
        {"name": "lsn", "type": ["null", "long"]},
        {"name": "ts_ms", "type": "long"},
        {"name": "origin", "type": text},
    ]
    return {
        "type": "record",
        "name": "Envelope",
        "namespace": f"{database}.public.person",
        "fields": [
            {
                "name": "before",
                "type": ["null", {"type": "record", "name": "Value", "fields": fields}],
            },
            {"name": "after", "type": ["null", "Value"]},
            {"name": "source", "type": {"type": "record", "name": "Source", "fields": source}},
            {"name": "op", "type": "string"},
        ],
    }


KEY = {"type": "record", "name": "Key", "fields": [{"name": "id", "type": "int"}]}


def encode(schema_id: int, avro: Any, value: Any) -> bytes:
    body = BytesIO(b"")
    fastavro.schemaless_writer(body, fastavro.parse_schema(avro), value)
    return b"\0" + schema_id.to_bytes(4) + body.getvalue()


class SchemaServer:
    """A schema registry on loopback with the schemas of the key and of the envelope."""

    def __init__(self, database: str) -> None:
        contents = {
            "/schemas/ids/1": {"schema": json.dumps(KEY)},
            "/schemas/ids/2": {"schema": json.dumps(envelope_schema(database))},
            "/subjects": ["any"],
            f"/subjects/{database}.public.person-key/versions/latest": {
                "id": 1,
                "schema": json.dumps(KEY),
            },
        }

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = contents.get(self.path)
                text = json.dumps(body or {"error_code": 40403}).encode()
                self.send_response(200 if body else 404)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                """Suppress the access log."""

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self._thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        self.http.shutdown()
        self._thread.join()
        self.http.server_close()


def write_policies(folder: Path, database: str) -> Path:
    """Write policies that mask `full_name`, the only personal column, for all but `auditors`."""
    folder.mkdir(exist_ok=True)
    shutil.copy(OWN / "servicedef-sink.json", folder)
    tables = {
        f"{database}.public.{name}": {"full_name": ["NAME"]} for name in ("person", "profile")
    }
    not_personal = {
        f"{database}.public.{name}": {"note": "made up", "town": "made up"}
        for name in ("person", "profile")
    }
    content = {"tags": {"NAME": "a name"}, "columns": tables, "not_personal": not_personal}
    (folder / "classification.json").write_text(json.dumps(content))

    def item(group: str, kind: str) -> dict[str, Any]:
        accesses = [{"type": "select", "isAllowed": True}]
        return {"accesses": accesses, "groups": [group], "dataMaskInfo": {"dataMaskType": kind}}

    names = {"database": database, "schema": "public", "table": "*", "column": "full_name"}
    policy = {
        "id": 1,
        "version": 1,
        "name": "names",
        "policyType": 1,
        "resources": {level: {"values": [value]} for level, value in names.items()},
        "dataMaskPolicyItems": [item(database, "MASK"), item("auditors", "MASK_NONE")],
    }
    content = {"serviceName": "s", "policyVersion": 1, "policies": [policy]}
    (folder / "policies.json").write_text(json.dumps(content))
    users = {"userGroupMapping": {"auditor": ["auditors"], "clerk": [database]}}
    (folder / "users.json").write_text(json.dumps(users))
    return folder


class Harness:
    """The pipeline of a mapping without Kafka, and the commands that an operator runs beside it."""

    def __init__(self, postgres: Any, database: str, url: str, policies: Path, call: Any) -> None:
        self.database, self.call, self.url = database, call, url
        self.dsn = postgres.dsn(database, "sink_writer")
        self.reader_dsn = postgres.dsn(database, "sink_reader")
        self.admin = psycopg.connect(postgres.dsn(database), autocommit=True)
        self.policies = policies
        self.topic = f"{database}.public.person"
        self.offset = 0
        self.encryptor = Encryptor(KEYS["one"], "one")
        self.identifies_row: Any = None
        """None: every event waits for the older events of its row."""
        plugin = discovery.installed()["people"]
        discovery.load(plugin)
        (self.plugin,) = discovery.usable([plugin])
        self.start()

    def start(self) -> None:
        """Build the pipeline with the current keys and claim the partition."""
        mapping = self.plugin.mapping
        assert mapping is not None
        with connect(self.dsn, "start") as connection:
            migrate(connection)
            target = read_table(connection, mapping.target_table)
        with connect(self.reader_dsn, "start") as connection:
            source = read_table(connection, mapping.source_table)
        schemas = SchemaCache(Registry(url=self.url))
        events = topic_source(
            mapping, source, values=schemas, keys=schemas, placeholder=Capture().placeholder
        )
        setup = MappingSetup(
            plugin=self.plugin,
            plugins=[self.plugin],
            policies=load_policies(self.policies),
            origins=read_origins(mapping, {self.database: self.reader_dsn}),
            target=target,
            target_dsn=self.dsn,
            readers={self.database: self.reader_dsn},
            encryptor=self.encryptor,
            clock=self._now,
        )
        offsets = Offsets("people", Topic("c", self.topic, "t"), "me")
        self.pipeline = build_pipeline(setup, events, offsets)
        self.committer, self.retry_queue = self.pipeline.committer, self.pipeline.retry_queue
        self.retry_queue._identifies_row = self.identifies_row
        self.prepare = self.pipeline.prepare
        (self.claim,) = self.committer.claim([0]).values()
        self.retry_queue.load({0})

    def stop(self) -> None:
        self.pipeline.close()

    def close(self) -> None:
        self.stop()
        self.admin.close()

    @staticmethod
    def _now() -> datetime:
        return datetime.now(UTC).replace(tzinfo=None)

    # -- events ------------------------------------------------------------------------------

    def event(
        self,
        identity: int,
        note: str | None = "a",
        *,
        op: str = "c",
        origin: str | None = None,
        before: dict[str, Any] | None = None,
        **row: Any,
    ) -> Message:
        after = {"id": identity, "full_name": f"Name {identity}", "town": "Kota", "note": note}
        after |= {"district": "Kota", **row}
        self.offset += 1
        source = {"lsn": self.offset, "ts_ms": 1_800_000_000_000, "origin": origin}
        envelope = {"op": op, "before": before, "after": after, "source": source}
        if op == "d":
            envelope |= {"before": after, "after": None}
        value = encode(2, envelope_schema(self.database), envelope)
        return Message(self.topic, 0, self.offset, encode(1, KEY, {"id": identity}), value)

    def send(self, *messages: Message) -> int:
        ready, held = self.retry_queue.split(messages)
        batch = self.prepare(ready)
        self.retry_queue.hold(batch, held)
        offset = self.claim.next_offset
        step = Advance(0, self.claim.epoch, offset, (offset or 0) + 1)
        self.claim = Claim(self.claim.epoch, (offset or 0) + 1)
        written = self.committer.apply(batch, [step])
        self.retry_queue.record_committed(batch.dead_letters, batch.superseding)
        return written

    def retry(self) -> None:
        """Load the retry queue and retry its events until no test has another one to apply."""
        for _ in range(5):
            self.retry_queue.load({0})
            self.retry_queue.retry({0: self.claim}, self.prepare)

    # -- results -----------------------------------------------------------------------------

    def rows(self) -> dict[int, Any]:
        found = self.admin.execute("SELECT id, full_name, town, note FROM profile ORDER BY id")
        return {row[0]: row[1:] for row in found}

    def written_notes(self, identity: int) -> list[str]:
        """Return the notes of a row in the order in which they were written."""
        found = self.admin.execute("SELECT note FROM written WHERE id = %s ORDER BY n", (identity,))
        return [row[0] for row in found]

    def dead_letters(self, *columns: str) -> list[Any]:
        found = self.admin.execute(
            f"SELECT {', '.join(columns)} FROM sink.dead_letter ORDER BY dlq_id"
        )
        return [row[0] if len(columns) == 1 else row for row in found]

    def audit_details(self, action: str) -> list[dict[str, Any]]:
        query = """SELECT details || jsonb_build_object('user', user_id) FROM sink.audit_log
                   WHERE details->>'action' = %s ORDER BY audit_id"""
        return [row[0] for row in self.admin.execute(query, (action,))]

    def multiply(self, copies: int) -> None:
        """Insert this number of copies of the first dead letter."""
        names = """flow, topic, partition, "offset", event_key_hash, error_class, sqlstate,
          error_message, stack_trace, source_data, key_id, plugin_version, status"""
        self.admin.execute(
            f"INSERT INTO sink.dead_letter ({names}) SELECT {names} "
            "FROM sink.dead_letter, generate_series(1, %s) "
            "WHERE dlq_id = (SELECT min(dlq_id) FROM sink.dead_letter)",
            (copies,),
        )

    def id(self, index: int = 0) -> str:
        return f"{self.database}/{self.dead_letters('dlq_id')[index]}"

    def dlq(self, *arguments: str) -> tuple[int, str, str]:
        code, out, err = self.call("dlq", *arguments)
        return code, out, err

    def json(self, *arguments: str) -> Any:
        _, out, err = self.dlq(*arguments, "--json")
        assert err == "", err
        return json.loads(out)


@pytest.fixture
def declare(request: Any, site: Any) -> Any:
    """Install the mapping in a database: `MAPPING`, or what a test gives as indirect parameter."""
    declaration = getattr(request, "param", MAPPING)
    return lambda database: site.plugin("people", declaration.format(database=database))


@pytest.fixture
def harness(
    postgres: Any, declare: Any, configured: Any, call: Any, tmp_path: Path
) -> Iterator[Harness]:
    database = postgres.fresh_database(like="smart_citizen")
    with psycopg.connect(postgres.dsn(database), autocommit=True) as admin:
        admin.execute(TABLES)
        admin.execute("INSERT INTO district VALUES ('Kota', 7)")
    declare(database)
    server = SchemaServer(database)
    policies = write_policies(tmp_path / "policies", database)
    created = Harness(postgres, database, server.url, policies, call)
    created.configure = partial(_configure, configured("people"), created)
    created.configure()
    yield created
    created.close()
    server.stop()


@pytest.fixture
def superseding(harness: Harness) -> Harness:
    """A harness in which a newer event of a row supersedes the row's dead letters."""
    harness.stop()
    harness.identifies_row = lambda _key: True
    harness.start()
    return harness


def _configure(path: Path, harness: Harness, key: str = "one", *old_keys: str) -> None:
    """Write a configuration with these keys, and use them in the harness."""

    def encoded(name: str) -> str:
        return base64.b64encode(KEYS[name]).decode()

    old = ", ".join(f'{name} = "{encoded(name)}"' for name in old_keys)
    path.write_text(f"""
[kafka]
bootstrap = "127.0.0.1:9"
[registry]
url = "{harness.url}"
[databases.{harness.database}]
dsn = "{harness.dsn}"
reader_dsn = "{harness.reader_dsn}"
[policies]
directory = "{harness.policies}"
[dead_letters]
key = "{encoded(key)}"
key_id = "{key}"
old_keys = {{ {old} }}
[plugins]
enabled = ["people"]
""")
    harness.encryptor = Encryptor(KEYS[key], key, {name: KEYS[name] for name in old_keys})
