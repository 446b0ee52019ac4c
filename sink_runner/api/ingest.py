"""Takes callbacks in: encodes all of a request, then publishes it, then says where it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

from ..config.api import Api
from ..errors import SinkError
from .callbacks import Flow, Item
from .debezium_envelope import envelope, framed, key_schema, parsed, value_schema
from .problems import invalid, too_large, unavailable
from .publisher import Publisher
from .requests import Accepted
from .subjects import Subjects


class Intake:
    """The way of a callback from a valid item to Kafka; threads share it."""

    def __init__(
        self,
        api: Api,
        subjects: Subjects,
        publisher: Publisher,
        *,
        placeholder_of: Callable[[str], str | None] = lambda _database: None,
    ) -> None:
        """`placeholder_of` tells what Debezium's schemas of a database state in their parameter."""
        self._api = api
        self._subjects = subjects
        self._publisher = publisher
        self._placeholder_of = placeholder_of
        self._parsed: dict[str, Any] = {}
        self._version = version("sink-runner")

    def accept(self, flow: Flow[Item], items: Sequence[Item], *, place: str) -> list[Accepted]:
        """Publish the items and return when all are durable, else raise a problem.

        `place` is where an item stands in the request, for what is wrong with it: `{}` is its
        number.
        """
        self._check_times(flow, items, place)
        records = self._encoded(flow, items)
        places = self._publisher.publish(flow.topic, records)
        if None in places:
            done = [at for at, place in enumerate(places) if place is not None]
            raise unavailable("Kafka", published=done)
        return [
            Accepted(topic=flow.topic, partition=place.partition, offset=place.offset)
            for place in places
            if place is not None
        ]

    def _encoded(self, flow: Flow[Item], items: Sequence[Item]) -> list[tuple[bytes, bytes]]:
        """All records or a problem: nothing is published before the last is known to be good."""
        try:
            # Whoever made the newest key schema, Debezium or we, its id is in every key.
            key_id, key_text = self._subjects.newest(
                f"{flow.topic}-key", key_schema(flow.table, flow.key)
            )
            value_id, value_text = self._subjects.exactly(
                f"{flow.topic}-value",
                value_schema(flow.table, flow.columns, self._placeholder_of(flow.table.database)),
            )
        except SinkError:
            raise unavailable("the schema registry") from None
        key_avro, value_avro = self._avro(key_text), self._avro(value_text)
        records = []
        for item in items:
            row = flow.row(item)
            key = framed(key_id, key_avro, {flow.key.name: row[flow.key.name]})
            value = framed(value_id, value_avro, envelope(flow.table, row, self._version))
            if len(value) > self._api.max_record_bytes:
                raise too_large(f"an event has at most {self._api.max_record_bytes} bytes")
            records.append((key, value))
        return records

    def _check_times(self, flow: Flow[Item], items: Sequence[Item], place: str) -> None:
        """A time far ahead would beat every true one until it comes."""
        latest = datetime.now(UTC) + timedelta(seconds=self._api.max_ahead_seconds)
        name = next(column.name for column in flow.columns if column.kind == "timestamp")
        late = [
            at
            for at, item in enumerate(items)
            if datetime.fromisoformat(flow.moment(item)) > latest
        ]
        if late:
            raise invalid(
                {"pointer": f"{place.format(at)}/{name}", "detail": "is in the future"}
                for at in late
            )

    def _avro(self, text: str) -> Any:
        if text not in self._parsed:
            self._parsed[text] = parsed(text)
        return self._parsed[text]
