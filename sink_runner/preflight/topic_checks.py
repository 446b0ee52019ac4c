"""Check that the topic of a mapping's source holds the changes of that table alone."""

from __future__ import annotations

from collections.abc import Iterator

from ..model.findings import Fault
from ..plugin import Table
from .subject import Subject

_PUBLISHED = "SELECT DISTINCT schemaname::text, tablename::text FROM pg_publication_tables"


def check_topic_of_its_own(subject: Subject) -> Iterator[Fault]:
    """Debezium replaces what a topic's name may not hold by an underscore, for every table."""
    mapping = subject.mapping
    if not mapping.streaming:
        return
    source = mapping.source_table
    published = subject.reading.execute(_PUBLISHED).fetchall()
    for schema, name in sorted(published):
        other = Table(source.database, schema, name)
        if other != source and other.topic == source.topic:
            yield Fault(
                f"tables {source} and {other} have one topic, {source.topic}: their rows would be "
                "taken for each other's",
                "a topic for each captured table",
                "rename one of the tables, or take the other out of every publication and of "
                "table.include.list in debezium-config",
            )
