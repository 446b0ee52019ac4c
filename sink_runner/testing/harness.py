"""Transform sample events with an installed plugin, without Kafka or a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sink_runner.errors import EventError, QualityError, WaitingError
from sink_runner.loading import discovery
from sink_runner.masking.origins import NOT_READ, Origins
from sink_runner.masking.policy import Policies, load_policies
from sink_runner.masking.policy_file import PolicyFiles
from sink_runner.model.batch import Batch
from sink_runner.model.changes import Change, Removal, Write
from sink_runner.plugin import Action, TableMapping
from sink_runner.postgres.catalog import CatalogColumn
from sink_runner.transform.compiled_mapping import compile_mapping
from sink_runner.transform.lookup_step import Resolver

from .events import Sample
from .samples import Samples


class Outcome(NamedTuple):
    """The result of one event: rows to write, keys to remove, or an error."""

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
        types: Mapping[str, str] | None = None,
        resolve: Resolver | None = None,
        beside: Sequence[str] = (),
        origins: Origins = NOT_READ,
    ) -> None:
        plugin = load_plugin(name, config)
        assert plugin.mapping is not None, f"plugin {name!r} declares no mapping"
        self.mapping: TableMapping = plugin.mapping
        catalog = {
            column.name: CatalogColumn(
                column.name, (types or {}).get(column.name, column.type or "text"), nullable=True
            )
            for column in self.mapping.columns
        }
        answers = found or {}
        self._samples = Samples(self.mapping)
        self.parts = compile_mapping(
            plugin,
            [plugin, *(load_plugin(other) for other in beside)],
            catalog,
            read_policies(policies),
            self._samples.source,
            origins=origins,
            resolve=resolve or (lambda column, _values: answers.get(column, {})),
        )

    def send(self, sample: Sample) -> Outcome:
        """Return the outcome of the event."""
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
        """Return the changes of several events; raise the error of one that fails."""
        batch = self.apply(*samples)
        for dead_letter in batch.dead_letters:
            raise dead_letter.error
        return batch.changes

    def apply(self, *samples: Sample) -> Batch:
        """Transform events as one batch."""
        messages = self._samples.messages(*samples)
        return self.parts.route.apply(zip(messages, self._samples.decode(messages), strict=True))


def load_plugin(name: str, config: Mapping[str, Any] | None = None) -> discovery.Plugin:
    plugins = discovery.installed()
    assert name in plugins, f"plugin {name!r} is not installed: pip install -e plugins/{name}"
    discovery.load(plugins[name], config)
    (plugin,) = discovery.usable([plugins[name]])
    return plugin


def read_policies(folder: Path | None) -> Policies:
    if folder is not None:
        return load_policies(folder)
    return Policies(PolicyFiles(version=0, digest="", policies=()))
