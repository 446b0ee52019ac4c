"""Fresh copies of both databases, and batch runs between them."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sink_runner.batch import session
from sink_runner.batch.session import Options, Report
from sink_runner.config import Batch, Config, Database, DeadLetters, Kafka, Policies, Registry
from sink_runner.config.dsn import Dsn
from sink_runner.config.lineage import Lineage
from sink_runner.loading import discovery
from sink_runner.writer.encryption import Encryptor

ROOT = Path(__file__).parents[3]
KEY = base64.b64encode(bytes(32)).decode()


class Pair:
    """Fresh copies of both databases, with connections of the administrator."""

    def __init__(self, postgres) -> None:
        self.postgres = postgres
        self.policies = Policies(directory=ROOT / "ranger-policies")
        self.lineage = Lineage()
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
                    dsn=Dsn.of(self.postgres.dsn(actual, "sink_writer")),
                    reader_dsn=Dsn.of(self.postgres.dsn(actual, "sink_reader")),
                )
                for name, actual in self.names.items()
            },
            dead_letters=DeadLetters(key=KEY, key_id="test"),
            policies=self.policies,
            lineage=self.lineage,
            batch=Batch(**{"max_rows": 7, "settle_seconds": 0.3} | batch),
            retry_steps=(0.05,),
        )

    def run(self, name: str, *others: str, wait: bool = False, **options: Any) -> Report:
        """Run the batch of a mapping, with the hooks of these other plugins; return its report."""
        config = self.config(**options.pop("batch", {}))
        installed = discovery.installed()
        for one in (name, *others):
            discovery.load(installed[one])
        plugins = discovery.usable([installed[one] for one in (name, *others)])
        report = session.run(plugins[0], plugins, config, Options(**options), wait=wait)
        assert report is not None
        return report

    def close(self) -> None:
        self.warehouse.close()
        self.citizen.close()


STOPPER = """
import os, signal
from sink_runner.plugin import hookimpl
remaining = [{chunks}]

@hookimpl
def sink_batch_committed():
    remaining[0] -= 1
    if not remaining[0]:
        os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.fixture
def stopper(site) -> Callable[[int], str]:
    """Return a function that installs a plugin; it sends SIGTERM after this number of chunks."""

    def install(chunks: int) -> str:
        site.plugin("stopper", STOPPER.format(chunks=chunks))
        return "stopper"

    return install


@pytest.fixture
def encryptor() -> Encryptor:
    """Decrypts the dead letters of the pair."""
    return Encryptor(base64.b64decode(KEY), "test")


@pytest.fixture
def pair(postgres) -> Iterator[Pair]:
    databases = Pair(postgres)
    yield databases
    databases.close()
