"""Read the details of one mapping for the console, from what the command line reads."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from ..config import Config
from ..config.database import find_database
from ..config.sections import HealthSettings
from ..control.store import Pause, pauses
from ..dlq import stored_dead_letters
from ..errors import SinkError
from ..health.client import read_step_seconds
from ..inspection.event import Place, explain_place
from ..inspection.explanation import Decision, Explained
from ..inspection.row import Limits, explain_key
from ..inspection.service import DlqService
from ..kafka.connection import KafkaConnection
from ..kafka.records import open_records
from ..loading.chain import chain_steps
from ..loading.discovery import Plugin
from ..masking.column_origins import read_origins
from ..masking.lineage import column_lineage
from ..masking.origins import NOT_READ, Origins
from ..masking.policy import load_policies
from ..plugin import TableMapping
from ..postgres.catalog import read_table
from ..postgres.error_classes import classified_errors
from ..postgres.migrations import has_tables
from ..postgres.session import Connection, connect
from ..reconcile.store import recent_runs
from ..writer import conflict_store
from . import models

_SECONDS = 5.0
_MOST = 20
_APPLIED = """
SELECT mapping, coalesce(sum(next_offset), 0)::bigint FROM sink.partition_offset GROUP BY mapping
"""
_DEFERRED = "SELECT flow, count(*) FROM sink.dead_letter WHERE status = 'PARKED' GROUP BY flow"


@dataclass(frozen=True, slots=True)
class Details:
    """Reads details of the mappings of these plugins; its errors are SinkErrors."""

    config: Config
    health: HealthSettings
    plugins: Mapping[str, Plugin]

    def find(self, name: str) -> Plugin | None:
        """Return the plugin of this mapping."""
        plugin = self.plugins.get(name)
        return plugin if plugin and plugin.mapping else None

    def progress(self) -> models.Progress:
        """Return how far each mapping has come; a database that does not answer is left out."""
        names: dict[str, list[str]] = defaultdict(list)
        for plugin in self.plugins.values():
            if plugin.mapping is not None:
                names[plugin.mapping.target_table.database].append(plugin.name)
        found: dict[str, models.Applied] = {}
        for database, local in names.items():
            with suppress(SinkError), self._session(database) as connection:
                applied, deferred = _counts(connection)
                for name in local:
                    counts = applied.get(name, 0), deferred.get(name, 0)
                    found[name] = models.Applied(applied=counts[0], deferred=counts[1])
        return models.Progress(at=datetime.now(UTC), mappings=found)

    def chain(self, plugin: Plugin) -> models.Chain:
        steps = [
            models.ChainStep(
                does=step.does,
                hook=step.hook,
                plugins=[
                    models.ChainPlugin(name=one.name, version=one.version) for one in step.plugins
                ],
            )
            for step in chain_steps(plugin, self.plugins.values())
        ]
        return models.Chain(steps=steps, timings=read_step_seconds(self.health, plugin.name))

    def columns(self, plugin: Plugin) -> models.Columns:
        """Return the lineage with the masks of the target's group."""
        mapping = _mapping(plugin)
        policies = load_policies(self.config.policies.directory, self.config.policies.key)
        derived: tuple[str, ...] = ()
        if mapping.derived is not None:
            with self._session(mapping.target_table.database) as connection:
                derived = tuple(read_table(connection, mapping.target_table).columns)
        lineage = column_lineage(mapping, policies, self._origins(mapping), derived)
        return models.Columns(
            columns=[
                models.TargetColumn(
                    target=one.target,
                    steps=one.steps,
                    inputs=[
                        models.ColumnInput(
                            column=_shorten(mapping, str(it.source)),
                            tags=sorted(policies.classified(*it.source)),
                            mask=it.mask,
                            is_value=it.is_value,
                        )
                        for it in one.inputs
                    ],
                )
                for one in lineage
            ]
        )

    def dead_letters(self, plugin: Plugin) -> models.DeadLetterCounts:
        wanted = stored_dead_letters.Wanted(mapping=plugin.name)
        with self._session(_mapping(plugin).target_table.database) as connection:
            counts = stored_dead_letters.summary(connection, wanted)
        return models.DeadLetterCounts(
            counts=[
                models.DeadLetterCount(
                    error_class=one.error_class,
                    sqlstate=one.sqlstate,
                    status=one.status,
                    number=one.dead_letters,
                    first=one.first,
                    last=one.last,
                )
                for one in counts
            ]
        )

    def conflicts(self, plugin: Plugin) -> models.Conflicts:
        table = _mapping(plugin).target_table
        wanted = conflict_store.Wanted(all=True, table=table.name, most=_MOST)
        with self._session(table.database) as connection:
            found = conflict_store.find(connection, wanted)
        fields = models.Conflict.model_fields
        return models.Conflicts(
            conflicts=[
                models.Conflict(
                    **{field: value for field, value in asdict(one).items() if field in fields}
                )
                for one in found
            ]
        )

    def reconciliation(self, plugin: Plugin) -> models.Reconciliation:
        with self._session(_mapping(plugin).target_table.database) as connection:
            runs = recent_runs(connection, plugin.name, most=_MOST)
        return models.Reconciliation(runs=[models.ReconcileRun(**asdict(run)) for run in runs])

    def pause(self, plugin: Plugin) -> Pause | None:
        with self._session(_mapping(plugin).target_table.database) as connection:
            return pauses(connection, [plugin.name]).get(plugin.name)

    def explain(self, plugin: Plugin, choice: models.EventChoice, user: str) -> models.Explanation:
        """Explain a row or an event in a dry run; what `user` may not see is masked."""
        service = DlqService(self.config, self.plugins, user)
        streams = choice.at is not None or _mapping(plugin).streaming
        kafka = KafkaConnection.of(self.config.kafka)
        with open_records(kafka) if streams else nullcontext() as records:
            if choice.key is not None:
                row = explain_key(service, plugin, choice.key, records, Limits())
                passages, facts = (row.source_row, row.event), [*row.facts.lines()]
                return _explanation(row.decision, passages, row.target, facts)
            assert choice.at is not None
            assert records is not None
            event = explain_place(service, plugin, Place.parse(choice.at), records)
            assert event.decision is not None
            return _explanation(event.decision, (event,), event.target, [])

    def _origins(self, mapping: TableMapping) -> Origins:
        """Return the origins that the databases know; without them, those that are declared."""
        try:
            return read_origins(mapping, self.config.readers, strict=False)
        except SinkError:
            return NOT_READ

    @contextmanager
    def _session(self, database: str) -> Iterator[Connection]:
        dsn = find_database(self.config.databases, database).dsn
        with classified_errors(), connect(dsn, "sink-runner console", _SECONDS) as connection:
            yield connection


def _explanation(
    decision: Decision,
    passages: Iterable[Explained | None],
    target: Mapping[str, Any] | None,
    facts: Sequence[str],
) -> models.Explanation:
    found = {
        "sentence": decision.sentence,
        "good": decision.good,
        "passages": [one.record() for one in passages if one is not None],
        "target": target,
        "facts": facts,
    }
    return models.Explanation.model_validate_json(json.dumps(found, default=str))


def _mapping(plugin: Plugin) -> TableMapping:
    assert plugin.mapping is not None
    return plugin.mapping


def _counts(connection: Connection) -> tuple[dict[str, int], dict[str, int]]:
    """Return the applied offsets and the deferred events, by mapping."""
    if not has_tables(connection):
        return {}, {}
    applied, deferred = (connection.execute(q).fetchall() for q in (_APPLIED, _DEFERRED))
    return dict(applied), dict(deferred)


def _shorten(mapping: TableMapping, column: str) -> str:
    """Return a column of the source table without its table."""
    return column.removeprefix(f"{mapping.source}.")
