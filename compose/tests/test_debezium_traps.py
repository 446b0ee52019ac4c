"""What Debezium really does with PostgreSQL's rows, one fact each.

These facts are what the sink's decoding is built on: an upgrade that changes one fails here first.
"""

import base64
import json
import math
from pathlib import Path

import pytest
from sink_runner.avro.names import adjust_name

RECORDED = Path(__file__).parents[2] / "tests" / "fixtures" / "debezium"

pytestmark = pytest.mark.stack


@pytest.fixture
def database(stack):
    with stack.admin("smart_warehouse") as connection:
        yield connection


@pytest.fixture
def read_messages(stack):
    """Read the messages of a trap table."""
    recorder = stack.recorder()

    def read(table, count):
        return recorder.read(f"smart_warehouse.trap.{table}", count)

    read.recorder = recorder
    return read


@pytest.fixture
def record(read_messages, request):
    """Return a function that stores messages for other tests if pytest has --record."""

    def save(name, fact, messages):
        if request.config.getoption("--record"):
            read_messages.recorder.save(RECORDED / f"{name}.json", fact, messages)

    return save


def until(read_messages, table, keys):
    """Return the messages of the keys as soon as each key has one."""
    found = read_messages(table, len(keys))
    while keys - {message.key["id"] for message in found}:
        found = read_messages(table, len(found) + 1)
    return [message for message in found if message.key["id"] in keys]


def test_explicit_null_in_column_with_default_stays_null(database, read_messages, record):
    database.execute("INSERT INTO trap.defaults VALUES (1, NULL, NULL)")
    database.execute("INSERT INTO trap.defaults (id) VALUES (2)")
    database.execute("UPDATE trap.defaults SET note = NULL WHERE id = 2")
    database.execute("DELETE FROM trap.defaults WHERE id = 1")
    messages = read_messages("defaults", 5)
    rows = [message.value["after"] for message in messages[:3]]
    assert rows[0] == {"id": 1, "note": None, "amount": None}
    assert rows[1] == {"id": 2, "note": "dflt", "amount": 5}
    assert rows[2] == {"id": 2, "note": None, "amount": 5}
    assert messages[3].value["before"]["note"] is None
    record("explicit-null", "an explicit NULL in a column with a DEFAULT stays NULL", messages)


def test_names_that_avro_forbids_stay_distinct(database, read_messages):
    """Debezium's own adjustment gives "a-b" and "a_b" the same name, and its capture fails."""
    database.execute(
        """INSERT INTO trap."Odd Names" VALUES (1, 'minus', NULL, 'one', 'code', 'n')"""
    )
    database.execute("""UPDATE trap."Odd Names" SET a_b = 'under'""")
    database.execute('DELETE FROM trap."Odd Names"')
    inserted, updated, deleted, tombstone = read_messages("Odd_Names", 4)
    row = {
        "Order No": 1,
        "a-b": "minus",
        "a_b": None,
        "1st": "one",
        "a_u002db": "code",
        "\u043c\u0435\u0440\u0430": "n",
    }
    assert inserted.value["after"] == {adjust_name(name): value for name, value in row.items()}
    assert updated.value["after"]["a_b"] == "under"
    assert updated.value["after"][adjust_name("a-b")] == "minus"
    for message in (inserted, updated, deleted, tombstone):
        assert message.key == {adjust_name("Order No"): 1}
    assert tombstone.value is None


def test_unchanged_toast_column_is_placeholder_with_default_identity(
    database, read_messages, record
):
    database.execute(
        "INSERT INTO trap.toast SELECT 1, 1, string_agg(md5(i::text), '') "
        "FROM generate_series(1, 500) i"
    )
    database.execute("UPDATE trap.toast SET small = 2")
    messages = read_messages("toast", 2)
    assert messages[1].value["after"] == {
        "id": 1,
        "small": 2,
        "large": "\0unavailable",
    }
    assert messages[1].value["before"] is None
    schema = json.loads(read_messages.recorder.schemas.text(messages[1].value_schema_id))
    parameter = {"unavailable.value.placeholder": "hex:00" + b"unavailable".hex()}
    assert schema["connect.parameters"] == parameter
    record("toast-default-identity", "an unchanged TOAST column is a placeholder", messages)


def test_unchanged_toast_column_is_complete_with_full_identity(database, read_messages, record):
    database.execute(
        "INSERT INTO trap.toast_full SELECT 1, 1, string_agg(md5(i::text), '') "
        "FROM generate_series(1, 500) i"
    )
    database.execute("UPDATE trap.toast_full SET small = 2")
    messages = read_messages("toast_full", 2)
    whole = messages[0].value["after"]["large"]
    assert len(whole) == 500 * 32
    assert messages[1].value["after"] == {"id": 1, "small": 2, "large": whole}
    assert messages[1].value["before"] == {"id": 1, "small": 1, "large": whole}
    record("toast-full-identity", "with FULL an unchanged TOAST column is whole", messages)


def test_delete_with_default_identity_has_placeholder_values(database, read_messages, record):
    database.execute("INSERT INTO trap.gone VALUES (7, 'real', 42, 'real')")
    database.execute("DELETE FROM trap.gone")
    messages = read_messages("gone", 3)[:3]
    assert messages[1].value["op"] == "d"
    assert messages[1].value["after"] is None
    # These are not values of the row: NOT NULL columns have the default of their type.
    assert messages[1].value["before"] == {"id": 7, "name": "", "amount": 0, "extra": None}
    record("delete-default-identity", "a delete knows the key only; the rest is made up", messages)


def test_delete_with_full_identity_has_complete_row(database, read_messages, record):
    row = {"id": 7, "name": "real", "amount": 42, "extra": "real"}
    database.execute("INSERT INTO trap.gone_full VALUES (7, 'real', 42, 'real')")
    database.execute("DELETE FROM trap.gone_full")
    messages = read_messages("gone_full", 3)
    assert messages[1].value["op"] == "d"
    assert messages[1].value["before"] == row
    record("delete-full-identity", "with FULL a delete has the true row", messages)


def test_delete_is_followed_by_tombstone_under_same_key(database, read_messages):
    database.execute("INSERT INTO trap.gone VALUES (8, 'x', 1, NULL)")
    database.execute("DELETE FROM trap.gone WHERE id = 8")
    found = [message for message in read_messages("gone", 6) if message.key == {"id": 8}]
    assert [message.value and message.value["op"] for message in found] == ["c", "d", None]
    assert found[2].raw_value is None
    assert found[2].raw_key == found[1].raw_key


def test_primary_key_change_is_delete_tombstone_and_create(database, read_messages, record):
    database.execute("INSERT INTO trap.moving VALUES (1, 'x')")
    database.execute("UPDATE trap.moving SET id = 2")
    messages = read_messages("moving", 4)[:4]
    assert [(message.key["id"], message.value and message.value["op"]) for message in messages] == [
        (1, "c"),
        (1, "d"),
        (1, None),
        (2, "c"),
    ]
    record("primary-key-change", "a key change is delete, tombstone and create", messages)


def test_events_are_in_order_of_commits(stack, database, read_messages):
    with stack.admin("smart_warehouse") as other:
        other.execute("BEGIN")
        other.execute("INSERT INTO trap.moving VALUES (20, 'begins first')")
        database.execute("INSERT INTO trap.moving VALUES (21, 'commits first')")
        other.execute("COMMIT")
    first, last = until(read_messages, "moving", {20, 21})
    assert [first.key["id"], last.key["id"]] == [21, 20]
    lsn = first.value["source"]["lsn"]
    assert last.value["source"]["lsn"] < lsn
    assert int(json.loads(last.value["source"]["sequence"])[0]) > lsn


def test_added_column_changes_value_schema_only(database, read_messages, record):
    database.execute("INSERT INTO trap.growing VALUES (1, 'before')")
    database.execute("ALTER TABLE trap.growing ADD COLUMN grade INT")
    database.execute("INSERT INTO trap.growing VALUES (2, 'after', 3)")
    messages = read_messages("growing", 2)
    assert "grade" not in messages[0].value["after"]
    assert messages[1].value["after"]["grade"] == 3
    assert messages[1].value_schema_id != messages[0].value_schema_id
    assert messages[1].key_schema_id == messages[0].key_schema_id
    record("added-column", "an added column is a new value schema, under the same key's", messages)


@pytest.fixture(scope="session")
def kinds(stack):
    """The rows of special values by id."""
    with stack.admin("smart_warehouse") as connection:
        for statement in (
            """(1, '2024-02-29 12:34:56.123456', '2024-02-29 12:34:56.123456+05:30', '2024-02-29',
                '12:34:56.123456', 12.50, 1e-10, 0.1, true, '{"a": 1}',
                'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee', '\\x00ff', '1 year 2 days 03:04:05',
                '{a,NULL,b}')""",
            "(2, NULL, NULL, NULL, NULL, 'NaN', 'NaN', 'NaN')",
            "(3, 'infinity', 'infinity', 'infinity', NULL, NULL, 'Infinity', 'Infinity')",
            "(4, '-infinity', '-infinity', '-infinity', NULL, NULL, '-Infinity', '-Infinity')",
            "(5, '0044-03-15 00:00:00 BC', '0044-03-15 00:00:00+00 BC', '0044-03-15 BC')",
            "(6, '2024-02-29 00:00:00', '2024-02-29 00:00:00+00', '0001-01-01', '00:00:00')",
        ):
            connection.execute(f"INSERT INTO trap.kinds VALUES {statement}")
    messages = stack.recorder().read("smart_warehouse.trap.kinds", 6)
    return {message.key["id"]: message for message in messages}


def rows(kinds, column):
    return [kinds[number].value["after"][column] for number in sorted(kinds)]


def test_timestamps_without_zone_end_in_z(kinds, record):
    assert kinds[1].value["after"]["at"] == "2024-02-29T12:34:56.123456Z"
    assert kinds[6].value["after"]["at"] == "2024-02-29T00:00:00Z"
    record("kinds", "how each type and special value is written", list(kinds.values()))


def test_timestamps_with_zone_are_in_utc(kinds):
    assert kinds[1].value["after"]["zoned"] == "2024-02-29T07:04:56.123456Z"
    assert kinds[6].value["after"]["zoned"] == "2024-02-29T00:00:00Z"


def test_dates_and_times_end_in_z(kinds):
    assert kinds[1].value["after"]["day"] == "2024-02-29Z"
    assert kinds[6].value["after"]["day"] == "0001-01-01Z"
    assert kinds[1].value["after"]["clock"] == "12:34:56.123456Z"
    assert kinds[6].value["after"]["clock"] == "00:00:00Z"


def test_years_before_christ_are_negative(kinds):
    """Year 0 is 1 BC, so 44 BC is -0043."""
    assert kinds[5].value["after"]["day"] == "-0043-03-15Z"
    assert kinds[5].value["after"]["at"] == "-0043-03-15T00:00:00Z"


def test_infinite_dates_are_text_of_postgresql(kinds):
    """Debezium without the transform PostgresText writes a date of the distant past."""
    assert kinds[3].value["after"]["day"] == "infinity"
    assert kinds[4].value["after"]["day"] == "-infinity"


def test_infinite_timestamps_are_text_of_postgresql(kinds):
    """Debezium without PostgresText writes times, one of which is valid in PostgreSQL."""
    assert kinds[3].value["after"]["at"] == "infinity"
    assert kinds[4].value["after"]["at"] == "-infinity"
    assert kinds[3].value["after"]["zoned"] == "infinity"
    assert kinds[4].value["after"]["zoned"] == "-infinity"


def test_decimals_are_strings_with_their_scale(kinds):
    assert kinds[1].value["after"]["amount"] == "12.50"
    assert kinds[1].value["after"]["free"] == "0.0000000001"


def test_nan_and_infinite_decimals_are_text_of_postgresql(kinds):
    assert kinds[2].value["after"]["amount"] == "NaN"
    assert rows(kinds, "free")[1:4] == ["NaN", "Infinity", "-Infinity"]


def test_doubles_are_ieee_with_nan_and_infinities(kinds):
    assert kinds[1].value["after"]["ratio"] == 0.1
    assert math.isnan(kinds[2].value["after"]["ratio"])
    assert rows(kinds, "ratio")[2:4] == [math.inf, -math.inf]


def test_other_types_are_text_of_postgresql_or_iso(kinds):
    row = kinds[1].value["after"]
    assert json.loads(row["document"]) == {"a": 1}
    assert row["code"] == "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
    assert row["raw"] == base64.b64encode(b"\x00\xff").decode()
    assert row["span"] == "1 year 2 days 03:04:05"
    assert row["tags"] == "{a,NULL,b}"
    assert row["flag"] is True


def test_source_has_the_origin_of_the_session(database, read_messages, record):
    database.execute("SELECT pg_replication_origin_create('sink/trap/0')")
    database.execute("SELECT pg_replication_origin_session_setup('sink/trap/0')")
    database.execute("INSERT INTO trap.origins VALUES (1, 'written by a sink')")
    database.execute("SELECT pg_replication_origin_session_reset()")
    database.execute("INSERT INTO trap.origins VALUES (2, 'written by a person')")
    messages = until(read_messages, "origins", {1, 2})
    assert [message.value["source"]["origin"] for message in messages] == ["sink/trap/0", None]
    record("origin", "a session's replication origin arrives in the source block", messages)


def test_source_has_transaction_and_position(database, read_messages):
    database.execute("INSERT INTO trap.origins VALUES (3, 'x'), (4, 'y')")
    changes = [message.value for message in until(read_messages, "origins", {3, 4})]
    sources = [change["source"] for change in changes]
    assert sources[0]["txId"] == sources[1]["txId"]
    assert sources[0]["lsn"] < sources[1]["lsn"]
    assert {source["snapshot"] for source in sources} == {"false"}
    assert [change["transaction"]["total_order"] for change in changes] == [1, 2]


def test_key_and_value_have_confluent_wire_format(database, read_messages):
    database.execute("INSERT INTO trap.origins VALUES (5, 'z')")
    message = until(read_messages, "origins", {5})[0]
    assert message.raw_key[0] == message.raw_value[0] == 0
    schema = json.loads(read_messages.recorder.schemas.text(message.value_schema_id))
    assert schema["type"] == "record"
    assert schema["name"] == "Envelope"


@pytest.mark.parametrize("database_name", ["smart_warehouse", "smart_citizen"])
def test_idle_database_has_heartbeats(stack, database_name, record):
    messages = stack.recorder().read(f"__debezium-heartbeat.{database_name}", 2)
    assert messages[0].value["ts_ms"] > 0
    table = stack.recorder().read(f"{database_name}.cdc.heartbeat", 2)
    assert table[-1].value["op"] in {"c", "u", "r"}
    record(f"heartbeat-{database_name}", "heartbeats pass by", messages[:2])


def test_transactions_begin_and_end_on_their_own_topic(database, stack, record):
    database.execute("INSERT INTO trap.origins VALUES (6, 'x')")
    messages = stack.recorder().read("smart_warehouse.transaction", 2)
    assert [message.value["status"] for message in messages[:2]] == ["BEGIN", "END"]
    assert messages[1].value["event_count"] >= 1
    record("transaction", "transaction markers pass by", messages[:2])


def test_incremental_snapshot_reads_rows_without_a_position(database, read_messages, record):
    database.execute("INSERT INTO trap.reread VALUES (1, 'x')")
    read_messages("reread", 1)
    database.execute(
        """INSERT INTO cdc.debezium_signal VALUES ('reread', 'execute-snapshot',
           '{"data-collections": ["trap.reread"], "type": "incremental"}')"""
    )
    messages = read_messages("reread", 2)
    value = messages[1].value
    assert (value["op"], value["after"]) == ("r", {"id": 1, "name": "x"})
    assert (value["source"]["snapshot"], value["source"]["lsn"]) == ("incremental", None)
    record("incremental-snapshot", "a row that is read again has no position", messages)


def test_truncate_is_an_event_without_rows_and_key(database, read_messages, record):
    database.execute("INSERT INTO trap.emptied VALUES (1, 'x')")
    database.execute("TRUNCATE trap.emptied")
    messages = read_messages("emptied", 2)
    value = messages[1].value
    assert (value["op"], value["before"], value["after"]) == ("t", None, None)
    assert messages[1].raw_key is None
    assert value["source"]["lsn"] > messages[0].value["source"]["lsn"]
    record("truncate", "a TRUNCATE has neither rows nor a key", messages)


def test_capture_resumes_at_its_offset_after_crash(stack, database, read_messages):
    database.execute("INSERT INTO trap.moving VALUES (10, 'before')")
    stack.kill("warehouse")
    database.execute("INSERT INTO trap.moving VALUES (11, 'meanwhile')")
    stack.revive()
    database.execute("INSERT INTO trap.moving VALUES (12, 'after')")
    seen = [message.key["id"] for message in until(read_messages, "moving", {10, 11, 12})]
    assert list(dict.fromkeys(seen)) == [10, 11, 12]


def test_settings_of_the_database_do_not_change_values(stack, database, read_messages):
    """PostgreSQL formats the values of its log by the settings of the capture's session."""
    settings = {
        "bytea_output": "escape",
        "intervalstyle": "sql_standard",
        "extra_float_digits": "0",
        "datestyle": "SQL, DMY",
    }
    try:
        for name, value in settings.items():
            database.execute(f"ALTER DATABASE smart_warehouse SET {name} = '{value}'")
        stack.restart("warehouse")
        database.execute(
            "INSERT INTO trap.kinds (id, raw, span, ratio, day) VALUES "
            "(900, '\\x00ff', '1 year 2 mons -3 days', 0.1::float8 + 0.2::float8, '2024-02-03')"
        )
        (message,) = until(read_messages, "kinds", {900})
    finally:
        for name in settings:
            database.execute(f"ALTER DATABASE smart_warehouse RESET {name}")
        stack.restart("warehouse")
    row = message.value["after"]
    assert (row["raw"], row["span"]) == ("AP8=", "1 year 2 mons -3 days")
    assert (row["ratio"], row["day"]) == (0.30000000000000004, "2024-02-03Z")
