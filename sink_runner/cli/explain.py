"""``sink-runner explain``: why a row is in the target or not, step by step."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime

import click

from ..control.status import read_status
from ..errors import ConfigError
from ..inspection import tables
from ..inspection.event import Place, explain_place
from ..inspection.explanation import Decision, Reason
from ..inspection.row import Limits, explain_key
from ..inspection.service import DlqService
from ..kafka.connection import KafkaConnection
from ..kafka.records import open_records
from ..loading import discovery
from .arguments import json_option, moment, number, user_option
from .command import FAILURE, OK, Command
from .configuration import find_plugin, mappings_of
from .dlq_options import dlq_service, print_record


def place(text: str | Place) -> Place:
    """Return the place of a record in Kafka."""
    if isinstance(text, Place):
        return text
    try:
        return Place.parse(text)
    except ValueError:
        raise click.BadParameter(f"expected topic:partition:offset, got {text!r}") from None


@click.command(cls=Command, exclusive=("--at", "--key"))
@click.argument("name", required=False)
@click.option(
    "--key",
    metavar="KEY",
    help="The row's key in its source: its value, or JSON of its columns.",
)
@click.option(
    "--at",
    metavar="PLACE",
    type=place,
    help="The event at this place in Kafka, as topic:partition:offset.",
)
@click.option(
    "--last",
    type=number,
    default=10_000,
    metavar="N",
    help="With --key: read the newest N records of each partition.",
)
@click.option(
    "--since",
    type=moment,
    metavar="T",
    help="With --key: read all records from this time on instead.",
)
@user_option("The user that the masking policies know you as.")
@json_option
def explain(
    *,
    name: str | None,
    key: str | None,
    at: Place | None,
    last: int,
    since: datetime | None,
    user: str,
    as_json: bool,
) -> int:
    """Say why a row is in the target or not.

    With --key it reads the source row as `sink-runner batch` does, and finds the newest events of
    the row in the topic; with --at it takes one event. Both go through the present plugins and
    policies, step by step, and the result is compared with the target's row. The first line says
    why the row is there or not; the steps and rows follow, masked as the policies say for you, and
    with --key what is stored of the row: dead letters, conflicts, findings of `sink-runner
    reconcile`, audit entries. NAME is a mapping of `sink-runner plugins`; with --at it may be
    omitted.

    Nothing is written: the write is rolled back, and no offset of a consumer group changes. The
    exit code is 1 if the target does not have what the mapping says: the event is not applied yet,
    is deferred, a dead letter or in conflict, or something else has changed the row.

    examples:
      sink-runner explain orders --key 0f2b6c1e-2d34-4c7e-9a51-3f6f6f0a1b2c
      sink-runner explain forecasts --key '{"year": 2026, "number": 17}'
      sink-runner explain --at shop.public.orders:0:17 --json
    """
    if (key is None) == (at is None):
        raise click.UsageError("give --key or --at")
    if key is not None and name is None:
        raise click.UsageError("--key needs the name of a mapping")
    with dlq_service(user) as service:
        plugin = _mapping(service, name, at)
        if key is None:
            assert at is not None
            with open_records(_kafka(service)) as records:
                found = explain_place(service, plugin, at, records)
            if found.decision is not None:
                found.decision = _with_state(service, plugin, found.decision)
            print_record(found.record(), tables.explained_lines(found), as_json=as_json)
            return OK if found.good else FAILURE
        assert plugin.mapping is not None
        streams = plugin.mapping.streaming
        limits = Limits(last=last, since=since)
        with open_records(_kafka(service)) if streams else nullcontext() as topic:
            row = explain_key(service, plugin, key, topic, limits)
        row.decision = _with_state(service, plugin, row.decision)
        print_record(row.record(), tables.row_lines(row), as_json=as_json)
        return OK if row.decision.good else FAILURE


def _with_state(service: DlqService, plugin: discovery.Plugin, decision: Decision) -> Decision:
    """Add the state of the mapping to a decision that a running mapping would change."""
    if decision.reason is not Reason.NOT_APPLIED:
        return decision
    (report,) = read_status(service.config, [plugin])
    clause = report.clause
    return decision._replace(sentence=f"{decision.sentence} {clause[0].upper()}{clause[1:]}.")


def _kafka(service: DlqService) -> KafkaConnection:
    return KafkaConnection.of(service.config.kafka)


def _mapping(service: DlqService, name: str | None, at: Place | None) -> discovery.Plugin:
    """Return the mapping of this name, or the only one that reads the topic."""
    if name is None:
        assert at is not None
        name = _reader(service, at.topic)
    plugin = find_plugin(name, service.plugins)
    if plugin.mapping is None:
        raise ConfigError(f"plugin {name!r} is global: it has no table")
    return plugin


def _reader(service: DlqService, topic: str) -> str:
    """Return the name of the only mapping that reads a topic."""
    mappings = mappings_of(one for one in service.plugins.values() if not one.errors)
    reading = [name for name, mapping in mappings.items() if mapping.source_table.topic == topic]
    if not reading:
        raise ConfigError(f"no mapping reads topic {topic!r}; see `sink-runner plugins`")
    if len(reading) > 1:
        raise ConfigError(f"mappings {', '.join(reading)} read topic {topic!r}: name one")
    return reading[0]
