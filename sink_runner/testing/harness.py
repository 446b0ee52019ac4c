"""Run one plugin's chain by itself, through the registry and the route of production."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any, NamedTuple

from sink_runner.errors import EventError, QualityError, WaitingError
from sink_runner.loading import discovery
from sink_runner.masking.origins import NOT_READ, Origins
from sink_runner.masking.policy import Policies, load_policies
from sink_runner.masking.policy_file import PolicyFiles
from sink_runner.model.batch import Batch
from sink_runner.model.changes import Change, Removal, Write
from sink_runner.model.envelope import Decoded
from sink_runner.model.message import Message
from sink_runner.plugin import ABSENT, Action, TableMapping
from sink_runner.postgres.catalog import CatalogColumn
from sink_runner.transform.before_image import columns_before
from sink_runner.transform.compiled_mapping import compile_mapping
from sink_runner.transform.event_source import EventSource
from sink_runner.transform.incoming import Shape
from sink_runner.transform.route import Resolver
from sink_runner.transform.row import SourceColumn
from sink_runner.transform.target_lookups import ResolveInTarget

from .events import Sample, kind_of, spelled


class Outcome(NamedTuple):
    """What one event came to: rows to write, keys that leave, or a fault."""

    rows: list[dict[str, Any]]
    """Target rows as they would be staged: text, numbers, booleans, None."""
    leaves: list[tuple[tuple[Any, ...], Action]]
    error: EventError | None
    defaults: tuple[str, ...] = ()
    """The columns that were NULL and got their default."""

    @property
    def rule(self) -> str | None:
        """The quality rule that the row broke."""
        return self.error.rule if isinstance(self.error, QualityError) else None

    @property
    def waiting(self) -> bool:
        """A lookup found nothing: the event is deferred and will be tried again."""
        return isinstance(self.error, WaitingError)

    @property
    def row(self) -> dict[str, Any]:
        """The one row that is written."""
        assert len(self.rows) == 1, f"{len(self.rows)} rows; error: {self.error}"
        return self.rows[0]


class Harness:
    """The installed plugin `name`, with the chain it has in production.

    `policies` is a folder of masking policies; `found` answers the lookups, by column; `types`
    are the target's types, where text will not do.  `beside` are other installed plugins that
    run with it: what they wrote, and this one would only carry back, is left out.
    """

    def __init__(
        self,
        name: str,
        *,
        policies: Path | None = None,
        config: Mapping[str, Any] | None = None,
        found: Mapping[str, Mapping[Any, Any]] | None = None,
        types: Mapping[str, str | CatalogColumn] | None = None,
        resolve: Resolver | None = None,
        beside: Sequence[str] = (),
        resolve_in_target: ResolveInTarget | None = None,
        origins: Origins = NOT_READ,
    ) -> None:
        plugin = _load(name, config)
        assert plugin.mapping is not None, f"plugin {name!r} declares no mapping"
        self.mapping: TableMapping = plugin.mapping
        catalog = {
            column.name: _catalog_column(
                column.name, (types or {}).get(column.name, column.type or "text")
            )
            for column in self.mapping.columns
        }
        answers = found or {}
        self._shapes: list[Shape] = []
        self._decoded: list[Decoded] = []
        self.source = EventSource(
            decode=lambda messages: [self._decoded[_number(one.value)] for one in messages],
            shape_of=self._shape,
            subject=lambda _message: "",
        )
        self.parts = compile_mapping(
            plugin,
            [plugin, *(_load(other, None) for other in beside)],
            catalog,
            _policies(policies),
            self.source,
            origins=origins,
            resolve=resolve or (lambda column, _asked: answers.get(column, {})),
            resolve_in_target=resolve_in_target,
        )

    def send(self, sample: Sample) -> Outcome:
        """What the event came to."""
        batch = self.apply(sample)
        names = [column.name for column in self.parts.columns]
        writes = [change for change in batch.changes if isinstance(change, Write)]
        leaves = [change for change in batch.changes if isinstance(change, Removal)]
        return Outcome(
            rows=[dict(zip(names, write.values, strict=True)) for write in writes],
            leaves=[(leave.key, leave.action) for leave in leaves],
            error=batch.dead_letters[0].error if batch.dead_letters else None,
            defaults=tuple(column for _, column in batch.defaults),
        )

    def changes(self, *samples: Sample) -> list[Change]:
        """What several events came to; a fault is raised."""
        batch = self.apply(*samples)
        for dead_letter in batch.dead_letters:
            raise dead_letter.error
        return batch.changes

    def apply(self, *samples: Sample) -> Batch:
        """Send events through the chain, as one batch."""
        return self.prepare(self.messages(*samples))

    def prepare(self, messages: Sequence[Message]) -> Batch:
        """Send messages of this harness through the chain."""
        decoded = [self._decoded[_number(message.value)] for message in messages]
        return self.parts.route.apply(zip(messages, decoded, strict=True))

    def messages(self, *samples: Sample) -> list[Message]:
        """The events as they would come from Kafka, in one batch."""
        return [self._message(offset, sample) for offset, sample in enumerate(samples)]

    def _message(self, offset: int, sample: Sample) -> Message:
        """Each event has a schema of its own, so that each may use other Python types."""
        after, before = self.mapping.source_columns, columns_before(self.mapping)
        self._shapes.append(
            Shape(_columns(after, sample, sample.after), _columns(before, sample, sample.before))
        )
        header = b"\0" + (len(self._shapes) - 1).to_bytes(4)
        seen = sample.before if self.mapping.needs_before_image or sample.op == "d" else None
        row = _values(after, sample.after)
        event = Decoded(
            op=sample.op,
            after=row,
            before=_values(before, seen),
            lsn=sample.position,
            ts_ms=round(sample.committed_at.replace(tzinfo=UTC).timestamp() * 1000),
            origin=sample.origin,
            snapshot=None,
            partial=ABSENT in (row or ()),
        )
        self._decoded.append(event)
        headers = [("__debezium.newkey", b"{}")] if sample.moved else []
        return Message(
            self.mapping.source_table.topic, 0, offset, self._key(sample), header, headers
        )

    def _key(self, sample: Sample) -> bytes:
        """What the target's key is made of stands for the source's."""
        keyed = self.mapping.derived or self.mapping
        row = (sample.before if sample.after is None else sample.after) or {}
        keys = [column for column in self.mapping.columns if column.name in keyed.key]
        columns = [column for column in keys if not column.lookups] or keys
        return repr([row.get(name) for column in columns for name in column.sources]).encode()

    def _shape(self, value: bytes) -> Shape:
        return self._shapes[_number(value)]


def _catalog_column(name: str, type_: str | CatalogColumn) -> CatalogColumn:
    """A column as the target's catalog has it, or as its declared type alone says it."""
    return CatalogColumn(name, type_, nullable=True) if isinstance(type_, str) else type_


def _number(value: bytes | None) -> int:
    assert value is not None
    return int.from_bytes(value[1:5])


def _load(name: str, config: Mapping[str, Any] | None) -> discovery.Plugin:
    plugins = discovery.installed()
    assert name in plugins, f"plugin {name!r} is not installed: pip install -e plugins/{name}"
    discovery.load(plugins[name], config)
    (plugin,) = discovery.usable([plugins[name]])
    return plugin


def _policies(folder: Path | None) -> Policies:
    if folder is not None:
        return load_policies(folder)
    return Policies(PolicyFiles(version=0, digest="", policies=()))


def _columns(
    names: Sequence[str], sample: Sample, row: Mapping[str, Any] | None
) -> list[SourceColumn]:
    values = row or {}
    return [
        SourceColumn(name, sample.kinds.get(name) or kind_of(values.get(name)), _type(values, name))
        for name in names
    ]


def _type(values: Mapping[str, Any], name: str) -> str | None:
    return "numeric" if type(values.get(name)).__name__ == "Decimal" else None


def _values(names: Sequence[str], row: Mapping[str, Any] | None) -> tuple[Any, ...] | None:
    if row is None:
        return None
    return tuple(spelled(row.get(name, ABSENT)) for name in names)
