"""Conditions of the dead-letter queue: failed, deferred and unpublished events."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from uuid import uuid4

from sink_stack import topics

from .condition import Condition, Repeat, once
from .site import Site, fetch_value

_MAPPING, _OTHER_MAPPING = "golden-records", "documents"
_TOPIC = "sink.dead-letters.smart_warehouse-to-smart_citizen"
_INVALID_DISTRICT = 999
# NOT VALID: replayed rows of an earlier condition stay.
_REJECT = "ALTER TABLE profile_data ADD CONSTRAINT drill CHECK (district_id < 999) NOT VALID"
_REJECT_OTHER = (
    "ALTER TABLE document_metadata ADD CONSTRAINT drill CHECK (file_size < 999) NOT VALID"
)
_INSERT = """INSERT INTO golden_records (full_name, district_id)
SELECT 'Drill', %s FROM generate_series(1, %s)"""
_INSERT_OTHER = """INSERT INTO documents (document_type, file_path, file_size)
SELECT 'INCOME', '/drill', 999 FROM generate_series(1, %s)"""
_INSERT_SCHEME = """INSERT INTO scheme_master (scheme_code, scheme_name, category)
VALUES ('DRILL', 'Drill', 'UNKNOWN')"""
_INSERT_ALERTS = """INSERT INTO alerts.ml_alert_outbox
  (alert_id, family_id, alert_type, severity, message)
SELECT gen_random_uuid(), %s, 'DRILL', 'LOW', 'drill' FROM generate_series(1, 10001)"""
_INSERT_CITIZEN = """INSERT INTO citizens (mobile_number, full_name)
VALUES ('9000000000', 'Drill') RETURNING id"""
_INSERT_FAMILY = """INSERT INTO citizen_identity_map (citizen_id, family_id, is_family_head)
VALUES (%s, %s, true)"""


@contextmanager
def reject_rows(site: Site, count: int = 1) -> Iterator[Repeat]:
    """Let the portal refuse this many golden records; afterwards they are replayed."""
    site.citizen.execute(_REJECT)
    insert_rejected(site, count)
    yield once
    site.citizen.execute("ALTER TABLE profile_data DROP CONSTRAINT drill")
    _replay(site, _MAPPING)


def insert_rejected(site: Site, count: int) -> None:
    site.warehouse.execute(_INSERT.encode(), (_INVALID_DISTRICT, count))


def _replay(site: Site, mapping: str) -> None:
    site.run("dlq", "replay", "--mapping", mapping, "--yes", "--wait", "--timeout", "120")


@contextmanager
def reject_rows_of_two_mappings(site: Site) -> Iterator[Repeat]:
    """Fill the queue without stopping a mapping, which stops after 1,000 of its own."""
    site.warehouse.execute(_REJECT_OTHER)
    site.citizen.execute(_INSERT_OTHER.encode(), (600,))
    with reject_rows(site, 600):
        yield once
    site.warehouse.execute("ALTER TABLE document_metadata DROP CONSTRAINT drill")
    _replay(site, _OTHER_MAPPING)


@contextmanager
def reject_continually(site: Site) -> Iterator[Repeat]:
    """Let one of five new golden records fail, as after a bad deployment."""

    def insert() -> None:
        site.warehouse.execute(_INSERT.encode(), (1, 4))
        insert_rejected(site, 1)

    with reject_rows(site):
        yield insert


@contextmanager
def refer_to_unknown_family(site: Site) -> Iterator[Repeat]:
    family = uuid4()
    site.warehouse.execute(_INSERT_ALERTS.encode(), (family,))
    yield once
    citizen = fetch_value(site.citizen, _INSERT_CITIZEN)
    site.citizen.execute(_INSERT_FAMILY.encode(), (citizen, family))


@contextmanager
def reject_rows_of_batch(site: Site) -> Iterator[Repeat]:
    """Let a quality rule refuse a row of a mapping that only batch runs write."""
    site.warehouse.execute(_INSERT_SCHEME)
    site.run("batch", "schemes", "--tolerate", "1")
    yield once
    site.warehouse.execute("DELETE FROM scheme_master WHERE scheme_code = 'DRILL'")
    site.run("dlq", "discard", "--mapping", "schemes", "--yes", "--reason", "drill")


@contextmanager
def delete_topic(site: Site) -> Iterator[Repeat]:
    with topics.admin(site.stack.kafka) as admin:
        admin.delete_topics([_TOPIC])
    with reject_rows(site):
        yield once
        site.stack.revive()


DEAD_LETTER_CONDITIONS = (
    Condition(
        alert="SinkDeadLetters",
        text="a batch run reads a row that breaks a quality rule",
        cause=reject_rows_of_batch,
    ),
    Condition(
        alert="SinkDeadLetterQueueLarge",
        text="two targets refuse 600 rows each",
        cause=reject_rows_of_two_mappings,
        seconds=180,
    ),
    Condition(
        alert="SinkManyWaiting",
        text="10,001 alerts refer to a family without a citizen",
        cause=refer_to_unknown_family,
        seconds=240,
    ),
    Condition(
        alert="SinkBudgetNearlySpent",
        text="the target refuses 950 rows",
        cause=partial(reject_rows, count=950),
        seconds=180,
    ),
    Condition(
        alert="SinkDeadLettersUnpublished",
        text="the topic of the dead letters is deleted, and the target refuses a row",
        cause=delete_topic,
    ),
    Condition(
        alert="SinkFailureRate", text="the target refuses every fifth row", cause=reject_continually
    ),
    Condition(
        alert="SinkFailureRateElevated",
        text="the target refuses every fifth row",
        cause=reject_continually,
    ),
)
