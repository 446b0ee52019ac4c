"""Conditions of reconciliations: rows that differ, and none that was equal for days."""

from collections.abc import Iterator
from contextlib import contextmanager

from .condition import Condition, Repeat, once
from .site import Site

_DAMAGE = """UPDATE schemes SET name = 'Damaged'
WHERE code = (SELECT min(code) FROM schemes)"""
_LET_DAYS_PASS = """UPDATE sink.reconcile_state
SET verified_through = verified_through - interval '3 days'"""


@contextmanager
def damage_row(site: Site) -> Iterator[Repeat]:
    site.citizen.execute(_DAMAGE)
    site.run("reconcile", "schemes", "--full", "--exit-zero")
    yield once
    site.run("reconcile", "schemes", "--full", "--repair")


@contextmanager
def skip_reconciliations(site: Site) -> Iterator[Repeat]:
    site.run("reconcile", "schemes")
    site.citizen.execute(_LET_DAYS_PASS)
    yield once
    site.run("reconcile", "schemes")


RECONCILE_CONDITIONS = (
    Condition(
        alert="SinkReconcileDifferent",
        text="a scheme is changed in the target by hand",
        cause=damage_row,
    ),
    Condition(
        alert="SinkReconcileOld",
        text="the time through which schemes are verified is moved back by three days",
        cause=skip_reconciliations,
    ),
)
