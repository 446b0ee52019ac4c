"""Two databases of a real PostgreSQL, and the batch form between them."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sink_runner import registry
from sink_runner.batch import session
from sink_runner.batch.session import Options, Report
from sink_runner.config import Batch, Config, Database, DeadLetters, Kafka, Policies, Registry

ROOT = Path(__file__).parents[2]
KEY = base64.b64encode(bytes(32)).decode()


class Pair:
    """Fresh copies of both databases, which a test changes as their owner."""

    def __init__(self, postgres) -> None:
        self.postgres = postgres
        self.names = {
            name: postgres.fresh_database(name) for name in ("smart_warehouse", "smart_citizen")
        }
        self.warehouse, self.citizen = (
            psycopg.connect(postgres.dsn(name), autocommit=True) for name in self.names.values()
        )

    def config(self, **batch: Any) -> Config:
        return Config(
            kafka=Kafka(bootstrap="127.0.0.1:1"),
            registry=Registry(url="http://127.0.0.1:1"),
            databases={
                name: Database(
                    dsn=self.postgres.dsn(actual, "sink_writer"),
                    reader_dsn=self.postgres.dsn(actual, "sink_reader"),
                )
                for name, actual in self.names.items()
            },
            dead_letters=DeadLetters(key=KEY, key_id="test"),
            policies=Policies(directory=ROOT / "ranger-policies"),
            batch=Batch(**{"max_rows": 7, "settle_seconds": 0.3} | batch),
            retry_steps=(0.05,),
        )

    def run(
        self, name: str, *, plugin: registry.Plugin | None = None, wait: bool = False, **asked: Any
    ) -> Report:
        """Run a mapping's batch; its report."""
        config = self.config(**asked.pop("batch", {}))
        if plugin is None:
            plugin = registry.installed()[name]
            registry.load(plugin)
        plugins = registry.usable([plugin])
        report = session.run(plugin, plugins, config, Options(**asked), wait=wait)
        assert report is not None
        return report

    def close(self) -> None:
        self.warehouse.close()
        self.citizen.close()


@pytest.fixture
def pair(postgres) -> Iterator[Pair]:
    made = Pair(postgres)
    yield made
    made.close()
