"""The checks before a mapping starts: each refusal names the problem and its remedy."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from sink_runner.batch import session
from sink_runner.errors import ConfigError
from sink_runner.loading import discovery
from sink_runner.loading.discovery import Plugin, Status
from sink_runner.plugin import (
    Column,
    Constant,
    Ignore,
    Review,
    insert_once,
)
from sink_runner.preflight.checklist import check_mapping, check_topic
from sink_runner.preflight.source_checks import check_encoding

from .invalid_mappings import (
    ALL_OPERATIONS,
    INVALID,
    KEYED,
    MOVED_KEY,
    MOVED_KEY_TABLES,
    PARTS,
    VIA_ROOT,
    Case,
    set_up,
)

pytestmark = pytest.mark.postgres

VALID = {
    "contested-key-whose-rows-stay": Case(
        "",
        (),
        mapping=MOVED_KEY | {"on_delete": Review("gone"), "on_remove": Ignore()},
        **MOVED_KEY_TABLES,
    ),
    "table-with-a-blank-and-a-dot": Case(
        "",
        (),
        source="CREATE TABLE {s}.t (id int PRIMARY KEY, v text);"
        'CREATE TABLE {s}."Order.s 1" (id int PRIMARY KEY, v text)',
        after_publish='ALTER PUBLICATION sink_publication ADD TABLE {s}."Order.s 1"',
        mapping={"source": 'north.{s}."Order.s 1"'},
    ),
    "plain": Case("", ()),
    "constants": Case(
        "",
        (),
        target="CREATE TABLE {s}.t (id int PRIMARY KEY, v jsonb, w numeric(3,1)[], x date)",
        mapping={
            "columns": (
                Column("id"),
                Column("v", default={"a": [1, None]}),
                Column("w", Constant([Decimal("1.5")])),
                Column("x", Constant(date(2024, 1, 1))),
            )
        },
    ),
    "key-with-included-column": Case(
        "", (), target="CREATE TABLE {s}.t (id int, v text, PRIMARY KEY (id) INCLUDE (v))"
    ),
    "identity-of-the-key": Case(
        "",
        (),
        source="CREATE TABLE {s}.t (id int PRIMARY KEY, v text);"
        "CREATE UNIQUE INDEX ids ON {s}.t (id);"
        "ALTER TABLE {s}.t REPLICA IDENTITY USING INDEX ids",
    ),
    "partitioned-by-its-root": Case(
        "", (), source=PARTS + VIA_ROOT, undo=VIA_ROOT.replace("true", "false")
    ),
    "partitions-by-their-names": Case("", (), source=PARTS, mapping={"source": "north.{s}.low"}),
    "partitioned-target": Case("", (), target=PARTS),
    "identity-always-key": Case(
        "",
        (),
        target="CREATE TABLE {s}.t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)",
    ),
    "identity-always-once": Case(
        "",
        (),
        source="CREATE TABLE {s}.t (id int PRIMARY KEY, v int)",
        target="CREATE TABLE {s}.t (id int PRIMARY KEY, v int GENERATED ALWAYS AS IDENTITY)",
        mapping={"columns": (Column("id"), Column("v", insert_only=True))},
    ),
    "only-inserts": Case(
        "",
        (),
        source=KEYED + "; ALTER TABLE {s}.t REPLICA IDENTITY NOTHING",
        after_publish="ALTER PUBLICATION sink_publication SET (publish = 'insert')",
        undo=ALL_OPERATIONS,
        mapping={"conflict": insert_once(), "on_delete": Ignore(), "on_remove": Ignore()},
    ),
    "reader-sees-all": Case(
        "",
        (),
        source=KEYED + "; ALTER TABLE {s}.t ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY everything ON {s}.t FOR SELECT TO sink_reader USING (true)",
    ),
}


NOCASE = (
    "CREATE COLLATION {s}.nocase "
    "(provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
)


@pytest.fixture
def prepare(tables):
    prepared = []

    def make(case: Case) -> Any:
        prepared.append(case)
        set_up(tables, case)
        return tables

    yield make
    for case in prepared:
        tables.run(tables.source, case.undo)
        tables.run(tables.target, case.target_undo)


@pytest.mark.parametrize("name", INVALID)
def test_every_command_refuses_with_same_text(prepare, name) -> None:
    """`run`, `batch` and `schema check` refuse with the same text, which names the remedy."""
    case = INVALID[name]
    tables = prepare(case)
    found = [one for one in tables.preflight().findings if one.refused]
    assert {one.check for one in found} == {case.check}
    texts = [one.text for one in found]
    for part in case.message:
        assert any(part.replace("{s}", tables.schema) in text for text in texts), texts
    assert tables.start().splitlines() == texts
    checked = [
        one for one in tables.schema_check() if one.change == "setup" and one.severity == "refused"
    ]
    assert [one.text.replace(f" ({one.origin})", "") for one in checked] == texts
    with pytest.raises(ConfigError) as refusal:
        batch(tables)
    assert str(refusal.value).splitlines() == texts


def batch(tables: Any) -> None:
    plugin = Plugin(name="bench", entry_points=(), status=Status.ON, mapping=tables.mapping)
    session.run(plugin, [plugin], tables.config, session.Options(), wait=False)


@pytest.mark.parametrize("name", VALID)
def test_valid_mapping_is_not_refused(prepare, name) -> None:
    tables = prepare(VALID[name])
    assert tables.refusals() == []
    assert tables.start() == ""


def test_source_without_encoding_is_warned(tables) -> None:
    tables.create()
    tables.source.execute(
        b"CREATE DATABASE of_bytes ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C'"
    )
    dsn = make_conninfo(tables.config.databases["north"].reader_dsn.read(), dbname="of_bytes")
    with psycopg.connect(dsn) as reading:
        subject = SimpleNamespace(reading=reading, mapping=tables.mapping)
        (finding,) = check_encoding(subject)
        assert "SQL_ASCII" in finding.problem
        assert not finding.refused


def test_keys_equal_in_target_are_warned(tables) -> None:
    tables.run(tables.target, NOCASE)
    tables.create(
        "CREATE TABLE {s}.t (id text PRIMARY KEY, v text)",
        "CREATE TABLE {s}.t (id text COLLATE {s}.nocase PRIMARY KEY, v text)",
    )
    (finding,) = check_mapping("t", tables.mapping, tables.config).findings
    assert not finding.refused
    assert "rows whose keys differ in the source only" in finding.fault.problem


def test_missing_select_for_batch_is_warned(tables) -> None:
    """Streaming needs no SELECT on the source table; a batch does, and is refused."""
    tables.create()
    tables.run(tables.source, "REVOKE SELECT ON {s}.t FROM sink_reader")
    assert tables.refusals() == []
    assert any("GRANT SELECT" in text for text in tables.warnings())
    with pytest.raises(ConfigError, match="GRANT SELECT"):
        batch(tables)


def test_text_into_number_is_warned(tables) -> None:
    """It may be intended; a row whose text is not a number becomes a dead letter."""
    tables.create(target="CREATE TABLE {s}.t (id int PRIMARY KEY, v int)")
    assert tables.refusals() == []
    assert any(
        "column v (text)" in text and "into v (integer)" in text for text in tables.warnings()
    )


@pytest.mark.parametrize(
    ("source", "target", "warnings"),
    [("DEFERRABLE", "", 1), ("", "", 0), ("DEFERRABLE", "DEFERRABLE", 0)],
)
def test_swap_refused_by_target_is_warned(tables, source: str, target: str, warnings: int) -> None:
    ddl = "CREATE TABLE {{s}}.t (id int PRIMARY KEY, v text CONSTRAINT vs UNIQUE {})"
    tables.create(ddl.format(source), ddl.format(target))
    assert tables.refusals() == []
    remedy = 'DROP CONSTRAINT "vs", ADD CONSTRAINT "vs" UNIQUE ("v") DEFERRABLE'
    assert [remedy in text for text in tables.warnings()] == [True] * warnings


def test_all_findings_are_reported_together(tables) -> None:
    tables.create(target="CREATE TABLE {s}.t (id int, v text)", publish=False)
    checks = {one.check for one in tables.preflight().findings}
    assert checks == {"publication", "target_key"}


def test_row_security_of_target_is_warned(tables) -> None:
    tables.create(
        target=KEYED + "; ALTER TABLE {s}.t ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY own ON {s}.t USING (id = 1) WITH CHECK (id = 1)"
    )
    assert tables.refusals() == []
    assert any("become dead letters" in text for text in tables.warnings())


def test_twelve_mappings_pass_every_check(postgres, tables) -> None:
    """The databases that compose/sql creates fit the twelve mappings."""
    databases = {
        name: replace(
            tables.config.databases["north"],
            dsn=postgres.dsn(name, "sink_writer"),
            reader_dsn=postgres.dsn(name, "sink_reader"),
        )
        for name in ("smart_warehouse", "smart_citizen")
    }
    config = replace(tables.config, databases=databases)
    installed = discovery.installed()
    for plugin in installed.values():
        discovery.load(plugin)
    mappings = {p.name: p.mapping for p in discovery.usable(installed.values()) if p.mapping}
    assert len(mappings) >= 12
    found = [
        f"{name}: {one.text}"
        for name, mapping in mappings.items()
        for one in check_mapping(name, mapping, config).findings
    ]
    assert found == []


def test_topic_is_checked_by_kafka_name(tables, monkeypatch) -> None:
    """Kafka allows fewer characters than PostgreSQL, so a topic may differ from its table."""
    queried = []
    monkeypatch.setattr(
        "sink_runner.preflight.checklist.read_topic", lambda _, name: queried.append(name)
    )
    mapping = replace(tables.mapping, source="north.public.two words")
    (found,) = check_topic("bench", mapping, tables.config)
    assert queried == [mapping.source_table.topic] == ["north.public.two_words"]
    assert "--create --topic north.public.two_words" in found.text
    assert check_topic("bench", replace(mapping, streaming=False), tables.config) == ()
