"""Accept events: encode all of a request, publish them, return their offsets in Kafka."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

from ..config.api import Api
from ..errors import SinkError
from ..model.trace_context import TRACEPARENT, parse_traceparent
from ..plugin import EventRoute, Table
from .debezium_envelope import (
    encode_record,
    encode_value,
    envelope,
    key_schema,
    parse_schema,
    value_schema,
)
from .problems import invalid, too_large, unavailable
from .publisher import Publisher
from .responses import Accepted
from .subjects import Subjects

Row = Mapping[str, Any]


class EventIngest:
    """Publishes valid items; thread-safe."""

    def __init__(
        self,
        api: Api,
        subjects: Subjects,
        publisher: Publisher,
        *,
        placeholder_of: Callable[[str], str | None] = lambda _database: None,
    ) -> None:
        """`placeholder_of` returns the placeholder in Debezium's schemas of a database, or None."""
        self._api = api
        self._subjects = subjects
        self._publisher = publisher
        self._placeholder_of = placeholder_of
        self._parsed: dict[str, Any] = {}
        self._version = version("sink-runner")

    def accept(
        self, route: EventRoute, items: Sequence[Any], *, pointer: str, traceparent: str = ""
    ) -> list[Accepted]:
        """Publish the items; return after every replica has stored them.

        Raises ProblemError.  `pointer` is the JSON pointer of an item for errors; it may contain
        `{}` for the item's number.  `traceparent` is that of the request; the events continue its
        trace if it is valid.
        """
        topic = Table.parse(route.table).topic
        rows = [
            {one.name: encode_value(one, getattr(item, one.name, None)) for one in route.columns}
            for item in items
        ]
        self._check_times(route, rows, pointer)
        records = self._encode(route, rows)
        context = parse_traceparent(traceparent.encode())
        headers = [(TRACEPARENT, str(context).encode())] if context else ()
        metadata = self._publisher.publish(topic, records, headers)
        if None in metadata:
            published = [number for number, one in enumerate(metadata) if one is not None]
            raise unavailable("Kafka", published=published)
        return [
            Accepted(topic=topic, partition=one.partition, offset=one.offset)
            for one in metadata
            if one is not None
        ]

    def _encode(self, route: EventRoute, rows: Sequence[Row]) -> list[tuple[bytes, bytes]]:
        """Return keys and values: all are encoded before the first is published."""
        table, key = Table.parse(route.table), route.columns[0]
        try:
            # Debezium may have registered the newest key schema: use its id, which keys contain.
            key_id, key_text = self._subjects.find_newest(
                f"{table.topic}-key", key_schema(table, key)
            )
            value_id, value_text = self._subjects.find_or_register(
                f"{table.topic}-value",
                value_schema(table, route.columns, self._placeholder_of(table.database)),
            )
        except SinkError:
            raise unavailable("the schema registry") from None
        key_avro, value_avro = self._parse(key_text), self._parse(value_text)
        records = []
        for row in rows:
            value = encode_record(value_id, value_avro, envelope(table, row, self._version))
            if len(value) > self._api.max_record_bytes:
                raise too_large(f"an event has at most {self._api.max_record_bytes} bytes")
            records.append((encode_record(key_id, key_avro, {key.name: row[key.name]}), value))
        return records

    def _check_times(self, route: EventRoute, rows: Sequence[Row], pointer: str) -> None:
        """Refuse times in the future: until then, such a row would win over every newer one."""
        latest = datetime.now(UTC) + timedelta(seconds=self._api.max_ahead_seconds)
        name = next((one.name for one in route.columns if one.kind == "timestamp"), None)
        late = [
            at
            for at, row in enumerate(rows)
            if name and row[name] and datetime.fromisoformat(row[name]) > latest
        ]
        if late:
            raise invalid(
                {"pointer": f"{pointer.format(at)}/{name}", "detail": "is in the future"}
                for at in late
            )

    def _parse(self, text: str) -> Any:
        if text not in self._parsed:
            self._parsed[text] = parse_schema(text)
        return self._parsed[text]
