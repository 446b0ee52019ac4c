"""Conditions of capture: no reader of a replication slot, and a slot that holds back WAL."""

from collections.abc import Iterator
from contextlib import contextmanager

from .condition import Condition, Repeat, once
from .site import Site

_WRITE_WAL = """SELECT count(pg_logical_emit_message(false, 'drill', repeat('x', 1048576)))
FROM generate_series(1, 1100)"""


@contextmanager
def stop_capture(site: Site) -> Iterator[Repeat]:
    site.stack.stop("citizen")
    yield once
    site.stack.revive()


@contextmanager
def fill_slot(site: Site) -> Iterator[Repeat]:
    with stop_capture(site):
        site.citizen.execute(_WRITE_WAL)
        yield once


CAPTURE_CONDITIONS = (
    Condition(alert="SinkConnectorDown", text="Debezium is stopped", cause=stop_capture),
    Condition(
        alert="SinkSlotGrowth",
        text="Debezium is stopped, and 1.1 GiB of WAL are written",
        cause=fill_slot,
        seconds=240,
    ),
)
