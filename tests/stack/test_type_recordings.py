"""Debezium captures every type and value; its messages are recorded for the decoder's tests.

`--record` writes the messages to tests/fixtures/debezium/types, one file for each group, together
with the text of each value as PostgreSQL prints it.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sink_stack.recorder import Message, Recorder
from sink_stack.settings import Settings
from sink_stack.testing_stack import StackUnderTest

from ..support import typed_tables as typed

pytestmark = pytest.mark.stack
RECORDED = Path(__file__).parents[1] / "fixtures" / "debezium" / "types"


def _create_tables(settings: Settings) -> None:
    with psycopg.connect(settings.admin_dsn("smart_warehouse")) as connection:
        if connection.execute("SELECT to_regnamespace('typed')").fetchone() != (None,):
            return
        typed.create_tables(connection)
        for group in typed.GROUPS:
            table = f"{typed.SCHEMA}.{group}"
            connection.execute(f"ALTER TABLE {table} REPLICA IDENTITY FULL".encode())
            connection.execute(f"ALTER PUBLICATION sink_publication ADD TABLE {table}".encode())
        connection.execute(b"GRANT USAGE ON SCHEMA typed, extras TO sink_capture")
        connection.execute(b"GRANT SELECT ON ALL TABLES IN SCHEMA typed TO sink_capture")


@pytest.fixture(scope="module")
def capture(stack: StackUnderTest) -> Iterator[StackUnderTest]:
    capturing_stack = stack.capturing(typed.capture_options(_create_tables))
    capturing_stack.revive()
    yield capturing_stack
    stack.revive()


@pytest.mark.parametrize("group", typed.GROUPS)
def test_every_value_is_captured(
    capture: StackUnderTest, group: str, request: pytest.FixtureRequest
) -> None:
    """Each event has every value of its row, and NULL only where the source has NULL."""
    rows = list(typed.rows(group))
    with capture.admin("smart_warehouse") as connection:
        for number, row in enumerate(rows):
            connection.execute(typed.insert_statement(group, number, row).encode())
        texts = typed.read_texts(connection, group)
        connection.execute(f"DELETE FROM typed.{group} WHERE id = 0".encode())
    recorder = capture.recorder()
    messages = recorder.read(f"smart_warehouse.typed.{group}", len(rows) + 1, seconds=15)
    if request.config.getoption("--record"):
        _save(recorder, RECORDED / f"{group}.json", messages, texts)
    missing = [
        f"{name} of row {number}: {text!r}"
        for number, row in texts.items()
        for name, text in row.items()
        if text is not None and messages[number].value["after"].get(name) is None
    ]
    assert missing == []


def _save(
    recorder: Recorder,
    path: Path,
    messages: list[Message],
    texts: dict[int, dict[str, str | None]],
) -> None:
    schemas = {
        str(number): json.loads(recorder.schemas.text(number))
        for message in messages
        for number in (message.key_schema_id, message.value_schema_id)
        if number is not None
    }
    recording = {
        "fact": "each message's row, and how PostgreSQL prints it",
        "texts": {
            str(number): {name: text for name, text in row.items() if text is not None}
            for number, row in texts.items()
        },
        "schemas": schemas,
        "messages": [_encode(message) for message in messages],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(recording, ensure_ascii=False) + "\n", encoding="utf-8")


def _encode(message: Message) -> dict[str, str | None]:
    return {
        "key": message.raw_key and base64.b64encode(message.raw_key).decode(),
        "value": message.raw_value and base64.b64encode(message.raw_value).decode(),
    }
