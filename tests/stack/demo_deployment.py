"""A deployment whose databases contain only demo data."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sink_stack.demo import load as demo
from sink_stack.demo.rows import Plan
from sink_stack.testing_stack import StackUnderTest

from ..oracle import history
from .deployment import Deployment


@contextmanager
def deploy(stack: StackUnderTest, log: Path, families: int) -> Iterator[Deployment]:
    """Reset the databases if needed, load demo data and record their history from then on."""
    if not is_unused(stack):
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
        yield Deployment(
            warehouse=warehouse,
            citizen=citizen,
            dsns=(dsns["smart_warehouse"], dsns["smart_citizen"]),
            environment={**os.environ, **stack.env},
            root=stack.stack.layout.root,
            log=log,
            kafka=stack.kafka,
        )


def is_unused(stack: StackUnderTest) -> bool:
    """Whether the databases have no rows, no recorded history and no offsets of a runner."""
    for database, table in (("smart_warehouse", "golden_records"), ("smart_citizen", "citizens")):
        with stack.admin(database) as connection:
            query = f"""SELECT EXISTS (SELECT FROM {table})
                        OR to_regnamespace('history') IS NOT NULL
                        OR EXISTS (SELECT FROM sink.partition_offset)"""
            if connection.execute(query.encode()).fetchone() == (True,):
                return False
    return True


def write_config(root: Path, folder: Path, first: str = "", last: str = "") -> Path:
    """Write the repository's configuration with settings before it and sections after it."""
    text = (root / "sink-runner.toml").read_text(encoding="utf-8")
    (folder / "ranger-policies").symlink_to(root / "ranger-policies")
    path = folder / "sink-runner.toml"
    path.write_text(f"{first}{text}{last}", encoding="utf-8")
    return path
