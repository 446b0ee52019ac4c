"""Databases that no test has touched, with demo data."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sink_stack.demo import load as demo
from sink_stack.demo.rows import Plan
from sink_stack.testing_stack import StackUnderTest

from ..oracle import history
from .arena import Arena


@contextmanager
def arena(stack: StackUnderTest, log: Path, families: int) -> Iterator[Arena]:
    """Fresh databases whose history begins with the demo data."""
    if not pristine(stack):
        stack.stack.clean()
        stack.revive()
    dsns = {name: stack.settings.admin_dsn(name) for name in demo.DATABASES}
    with (
        stack.admin("smart_warehouse") as warehouse,
        stack.admin("smart_citizen") as citizen,
    ):
        plan = Plan(families=families, seed=1, as_of=datetime.now(UTC).replace(tzinfo=None))
        demo.load(dsns, plan, if_empty=False, advance=lambda _: None)
        history.install(warehouse, "smart_warehouse")
        history.install(citizen, "smart_citizen")
        yield Arena(
            warehouse=warehouse,
            citizen=citizen,
            dsns=(dsns["smart_warehouse"], dsns["smart_citizen"]),
            environment={**os.environ, **stack.env},
            root=stack.stack.layout.root,
            log=log,
            kafka=stack.kafka,
        )


def pristine(stack: StackUnderTest) -> bool:
    """Whether no other test left rows, a history or a runner's traces."""
    for database, table in (("smart_warehouse", "golden_records"), ("smart_citizen", "citizens")):
        with stack.admin(database) as connection:
            asked = f"""SELECT EXISTS (SELECT FROM {table})
                        OR to_regnamespace('history') IS NOT NULL
                        OR EXISTS (SELECT FROM sink.partition_offset)"""
            if connection.execute(asked.encode()).fetchone() == (True,):
                return False
    return True
