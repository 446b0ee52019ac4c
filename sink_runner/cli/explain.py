"""``sink-runner explain``: why a row is in the target or not, step by step."""

from __future__ import annotations

import click

from ..errors import ConfigError
from ..inspection import tables
from ..inspection.event import Place, explain_place
from ..inspection.service import DlqService
from ..kafka.connection import KafkaConnection
from ..kafka.records import open_records
from ..loading import discovery
from .arguments import json_option, user_option
from .command import FAILURE, OK, Command
from .configuration import find_plugin
from .dlq_options import dlq_service, print_record


def place(text: str | Place) -> Place:
    """Return the place of a record in Kafka."""
    if isinstance(text, Place):
        return text
    try:
        return Place.parse(text)
    except ValueError:
        raise click.BadParameter(f"expected topic:partition:offset, got {text!r}") from None


@click.command(cls=Command)
@click.argument("name", required=False)
@click.option(
    "--at",
    metavar="PLACE",
    type=place,
    required=True,
    help="The event at this place in Kafka, as topic:partition:offset.",
)
@user_option("The user that the masking policies know you as.")
@json_option
def explain(*, name: str | None, at: Place, user: str, as_json: bool) -> int:
    """Say why a row is in the target or not.

    Takes an event through the present plugins and policies, step by step, and compares the result
    with the target's row. The first line says why the row is there or not; the steps, the row that
    the event makes and the target's row follow, masked as the policies say for you. NAME is a
    mapping of `sink-runner plugins`; without it, the mapping that reads the topic.

    Nothing is written: the write is rolled back, and no offset of a consumer group changes. The
    exit code is 1 if the target does not have what the mapping says: the event is not applied yet,
    is deferred, a dead letter or in conflict, or something else has changed the row.

    examples:
      sink-runner explain --at smart_warehouse.public.golden_records:0:17 --json
      sink-runner explain golden-records --at smart_warehouse.public.golden_records:0:17
    """
    with dlq_service(user) as service, open_records(_kafka(service)) as records:
        found = explain_place(service, _mapping(service, name, at), at, records)
        print_record(found.record(), tables.explained_lines(found), as_json=as_json)
    return OK if found.good else FAILURE


def _kafka(service: DlqService) -> KafkaConnection:
    return KafkaConnection.of(service.config.kafka)


def _mapping(service: DlqService, name: str | None, at: Place) -> discovery.Plugin:
    """Return the mapping of this name, or the only one that reads the topic."""
    if name is not None:
        return find_plugin(name, service.plugins)
    reading = [
        plugin.name
        for plugin in service.plugins.values()
        if plugin.mapping is not None
        and plugin.status is discovery.Status.ON
        and plugin.mapping.source_table.topic == at.topic
    ]
    if not reading:
        raise ConfigError(f"no mapping reads topic {at.topic!r}; see `sink-runner plugins`")
    if len(reading) > 1:
        raise ConfigError(f"mappings {', '.join(reading)} read topic {at.topic!r}: name one")
    return find_plugin(reading[0], service.plugins)
