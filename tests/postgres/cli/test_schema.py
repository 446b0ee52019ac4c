"""``sink-runner schema``: its output and exit codes."""

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from sink_runner.avro.schema_cache import SchemaCache
from sink_runner.plugin import Table
from sink_runner.postgres.migrations import migrate
from sink_runner.schema_check.catalog_schema import read_shape, value_schema
from sink_runner.schema_check.contract import Contract, Contracts

from ...unit.schema_check.tables import COLUMNS, envelope, row

PLUGIN = """
from sink_runner.plugin import Column, TableMapping, hookimpl, source_wins

@hookimpl
def sink_mapping():
    return TableMapping(
        source="north.public.t",
        target="south.public.t",
        key=("id",),
        conflict=source_wins(),
        columns=(Column("id", required=True), Column("name", "title"), Column("amount")),
    )
"""
TYPED_TABLE = Table("north", "public", "typed")
AUDIT_LOG = "SELECT user_id, details FROM sink.audit_log"
INVALID_SCHEMAS = [
    "null",
    "[]",
    "{}",
    "3",
    '"text"',
    "{",
    "[" * 100_000,
    '{"type": "record"}',
    '{"type": "record", "name": "Value", "fields": "x"}',
    '{"type": "record", "name": "Value", "fields": [{}]}',
    '{"type": "record", "name": "Value", "fields": [3]}',
]
POLICIES = Path(__file__).parents[3] / "ranger-policies"


@pytest.fixture
def recorded(site, configured, tmp_path):
    """Return a function that records the schema of the table that the plugin `one` reads."""
    site.plugin("one", PLUGIN)
    configured("one", more=f'[policies]\ndirectory = "{POLICIES}"\n')
    folder = tmp_path / "schemas"
    folder.mkdir()

    def write(name: str = "north.public.t-value", **columns: str) -> Path:
        (folder / f"{name}.avsc").write_text(json.dumps(envelope(with_types=True, **columns)))
        return folder

    return write


class TestRecorded:
    def test_matching_schema_is_ok(self, recorded, call):
        code, out, _ = call("schema", "check", "--schemas", str(recorded(**COLUMNS)))
        assert code == 0
        assert "one" in out
        assert "ok" in out

    def test_removed_column_is_refused(self, recorded, call):
        folder = recorded(id="integer!", amount="bigint")
        code, out, _ = call("schema", "check", "--json", "--schemas", str(folder))
        ((result),) = json.loads(out)
        assert (code, result["mapping"], result["result"]) == (1, "one", "refused")
        (finding,) = result["findings"]
        assert (finding["column"], finding["change"]) == ("title", "removed")
        assert finding["origin"] == "north.public.t-value.avsc"

    def test_against_compares_with_earlier_record(self, recorded, call, tmp_path):
        folder = recorded(**COLUMNS)
        earlier = tmp_path / "earlier"
        folder.rename(earlier)
        folder.mkdir()
        recorded(**COLUMNS | {"amount": "integer"})
        arguments = ("schema", "check", "--schemas", str(folder))
        assert call(*arguments)[0] == 0
        code, out, _ = call(*arguments, "--against", str(earlier))
        assert code == 1
        assert "narrowed" in out

    def test_unclassified_column_is_refused_if_strict(self, recorded, configured, call):
        arguments = ("schema", "check", "--schemas")
        folder = str(recorded(**COLUMNS, mobile_no="text"))
        assert call(*arguments, folder)[0] == 1
        more = f'[policies]\ndirectory = "{POLICIES}"\n[schema]\nstrict = false\n'
        configured("one", more=more)
        assert call(*arguments, folder)[0] == 0
        assert call(*arguments, folder, "--strict")[0] == 1

    def test_missing_record_is_a_warning(self, recorded, call):
        folder = recorded("another", **COLUMNS)
        code, out, _ = call("schema", "check", "--schemas", str(folder))
        assert code == 0
        assert "-> `sink-runner schema pull` records it" in out

    @pytest.mark.parametrize("option", ["--schemas", "--against"])
    def test_missing_folder_is_error(self, recorded, call, tmp_path, option):
        folder = recorded(**COLUMNS)
        for other in (tmp_path / "missing", folder / "north.public.t-value.avsc"):
            code, _, err = call("schema", "check", "--schemas", str(folder), option, str(other))
            assert code == 78
            assert f"{other} is not a folder" in err

    @pytest.mark.parametrize("part", ["value", "key"])
    @pytest.mark.parametrize("text", INVALID_SCHEMAS)
    def test_invalid_schema_file_is_error(self, recorded, call, tmp_path, part, text):
        folder, other = recorded(**COLUMNS), tmp_path / "other"
        shutil.copytree(folder, other)
        path = other / f"north.public.t-{part}.avsc"
        path.write_text(text)
        for option in ("--schemas", "--against"):
            code, _, err = call("schema", "check", "--schemas", str(folder), option, str(other))
            assert code == 78
            assert str(path) in err

    def test_missing_counterpart_is_a_warning(self, recorded, call, tmp_path):
        earlier = tmp_path / "earlier"
        earlier.mkdir()
        arguments = ("--schemas", str(recorded(**COLUMNS)), "--against", str(earlier))
        code, out, _ = call("schema", "check", "--json", *arguments)
        ((result),) = json.loads(out)
        assert (code, result["result"]) == (0, "warning")
        assert "has no north.public.t-value.avsc to compare" in result["findings"][0]["problem"]
        assert call("schema", "check", "--strict", *arguments)[0] == 1

    @pytest.mark.parametrize("name", ["unknown", "two"])
    def test_unknown_or_other_mapping_is_error(self, recorded, site, call, name):
        site.mapping("two")
        folder = str(recorded(**COLUMNS))
        code, _, err = call("schema", "check", "--schemas", folder, "--mapping", name)
        assert code == 78
        assert name in err


@pytest.fixture
def databases(postgres, site, configured, monkeypatch):
    """Two databases with the plugin's tables: the source session, the contracts, the audit log."""
    north, south = (postgres.fresh_database("smart_citizen") for _ in range(2))
    site.plugin("one", PLUGIN)
    path = configured("one", more=f'[policies]\ndirectory = "{POLICIES}"\n')
    sections = "".join(
        f'[databases.{name}]\ndsn = "{postgres.dsn(database, "sink_writer")}"\n'
        f'reader_dsn = "{postgres.dsn(database, "sink_reader")}"\n'
        for name, database in (("north", north), ("south", south))
    )
    text = path.read_text()
    first, last = text.index("[databases.north]"), text.index("[dead_letters]")
    path.write_text(text[:first] + sections + text[last:])
    with (
        psycopg.connect(postgres.dsn(north), autocommit=True) as source,
        psycopg.connect(postgres.dsn(south), autocommit=True) as target,
        psycopg.connect(postgres.dsn(south, "sink_writer"), autocommit=True) as writer,
    ):
        migrate(writer)
        source.execute("CREATE TABLE t (id int PRIMARY KEY, title varchar(20), amount bigint)")
        source.execute("GRANT SELECT ON t TO sink_reader, sink_capture")
        source.execute("ALTER PUBLICATION sink_publication ADD TABLE t")
        target.execute("CREATE TABLE t (id int PRIMARY KEY, name varchar(20), amount bigint)")
        target.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON t TO sink_writer")
        contracts = Contracts(postgres.dsn(south, "sink_writer"))
        yield source, contracts, lambda: target.execute(AUDIT_LOG).fetchall()


@pytest.mark.postgres
class TestCatalog:
    CHECK = ("schema", "check", "--from-catalog")

    def test_altered_column_is_refused(self, databases, call, tmp_path):
        source, *_ = databases
        folder = str(tmp_path / "schemas")
        assert call("schema", "pull", folder, "--from-catalog")[0] == 0
        assert call(*self.CHECK, "--against", folder)[0] == 0
        source.execute("ALTER TABLE t ALTER title TYPE varchar(10)")
        code, out, _ = call(*self.CHECK, "--against", folder, "--json")
        assert code == 1
        assert "character varying(20) -> character varying(10)" in out

    def test_narrower_target_is_a_warning(self, databases, call):
        source, *_ = databases
        source.execute("ALTER TABLE t ALTER title TYPE varchar(30)")
        assert call(*self.CHECK)[0] == 0
        code, out, _ = call(*self.CHECK, "--strict", "--json")
        assert code == 1
        assert "may hold more than name (character varying(20))" in out

    def test_changed_key_is_refused(self, databases, call, tmp_path):
        source, *_ = databases
        folder = str(tmp_path / "schemas")
        call("schema", "pull", folder, "--from-catalog")
        source.execute("ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id, amount)")
        code, out, _ = call(*self.CHECK, "--against", folder, "--json")
        assert code == 1
        assert '"key"' in out

    def test_stored_contract_is_compared_and_accepted(self, databases, call):
        source, contracts, audit_log = databases
        contracts.save("one", Contract(row=row(**COLUMNS)))
        source.execute("ALTER TABLE t DROP COLUMN title, ALTER amount TYPE int")
        assert call(*self.CHECK)[0] == 1
        code, out, _ = call("schema", "accept", "one", "--as", "asha")
        assert code == 0
        assert out.count("accepted: ") == 2
        (entry,) = audit_log()
        assert (entry[0], len(entry[1]["schema_accepted"])) == ("asha", 2)
        assert call(*self.CHECK)[0] == 0
        stored = contracts.load("one")
        assert stored is not None
        assert stored.missing == {"title"}
        assert call("schema", "accept", "one")[1] == "nothing had to be accepted for one\n"

    def test_unclassified_column_cannot_be_accepted(self, databases, call):
        source, contracts, _ = databases
        contracts.save("one", Contract(row=row(**COLUMNS)))
        source.execute("ALTER TABLE t ADD mobile_no text, ALTER amount TYPE int")
        code, _, err = call("schema", "accept", "one")
        assert code == 78
        assert "it cannot be accepted" in err
        stored = contracts.load("one")
        assert stored is not None
        assert "mobile_no" not in stored.row.columns


@pytest.mark.postgres
class TestAcceptedById:
    NARROW = COLUMNS | {"amount": "integer"}

    def accept(self, monkeypatch, call, schema):
        monkeypatch.setattr(SchemaCache, "schema", lambda _self, _schema_id: schema)
        return call("schema", "accept", "one", "--id", "57")

    @pytest.mark.parametrize(
        "named",
        [
            {"namespace": "north.public.other"},
            {"connect.name": "north.public.other.Envelope"},
            {"namespace": ""},
        ],
    )
    def test_schema_of_another_table_is_refused(self, databases, call, monkeypatch, named):
        _, contracts, audit_log = databases
        contracts.save("one", Contract(row=row(**COLUMNS)))
        code, _, err = self.accept(monkeypatch, call, envelope(weight="text") | named)
        assert code == 78
        assert "schema 57 is of" in err
        assert contracts.load("one") == Contract(row=row(**COLUMNS))
        assert audit_log() == []

    @pytest.mark.parametrize("named", [{}, {"connect.name": "north.public.t.Envelope"}])
    def test_schema_of_table_is_accepted(self, databases, call, monkeypatch, named):
        _, contracts, _ = databases
        contracts.save("one", Contract(row=row(**COLUMNS)))
        code, out, _ = self.accept(monkeypatch, call, envelope(**self.NARROW) | named)
        assert (code, "accepted: column amount" in out) == (0, True)
        stored = contracts.load("one")
        assert stored is not None
        assert stored.accepted == {57}


@pytest.mark.postgres
def test_concurrent_contract_changes_are_both_stored(databases):
    """The second change waits for the first, even if no contract was stored before."""
    _, contracts, _ = databases
    first, second = threading.Event(), threading.Event()

    def update_slowly(_stored):
        first.set()
        second.wait(0.3)  # time in which the other change would finish if it did not wait
        return Contract(row=row(**COLUMNS), accepted=frozenset({1}))

    slow = threading.Thread(target=contracts.update, args=("one", update_slowly))
    slow.start()
    first.wait()
    contracts.update("one", lambda stored: replace(stored, accepted=stored.accepted | {2}))
    second.set()
    slow.join()
    assert contracts.load("one").accepted == {1, 2}


@pytest.mark.postgres
def test_contract_is_stored_completely(databases):
    _, contracts, _ = databases
    assert contracts.load("one") is None
    contract = Contract(
        row=row(key=("amount", "id"), **COLUMNS, tags="text[]", price="numeric(12,2)"),
        missing=frozenset({"gone"}),
        accepted=frozenset({3, 70_000_000_000}),
    )
    for _ in range(2):
        contracts.save("one", contract)
        found = contracts.load("one")
        assert found is not None
        assert found == contract
        assert [*found.row.columns] == [*contract.row.columns]


@pytest.mark.postgres
def test_domain_and_enum_match_debezium_schema(databases):
    source, *_ = databases
    source.execute("CREATE DOMAIN mark AS numeric(4,1) NOT NULL")
    source.execute("CREATE TYPE mood AS ENUM ('glad', 'sad')")
    source.execute("CREATE TABLE typed (id int PRIMARY KEY, mark mark, mood mood)")
    schema = value_schema(TYPED_TABLE, read_shape(source, TYPED_TABLE))
    types = {field["name"]: field["type"] for field in schema["fields"]}
    assert types["mark"] == "string"
    assert types["mood"][1]["connect.name"] == "io.debezium.data.Enum"
    assert types["mood"][1]["connect.parameters"] == {"allowed": "glad,sad"}
