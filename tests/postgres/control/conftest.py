"""A database with three mappings, and the commands that control them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from sink_runner.config.dsn import Dsn
from sink_runner.control.reload import ReloadWatch
from sink_runner.control.store import Pause
from sink_runner.model.status import Health
from sink_runner.runtime.control_link import ControlLink

CONFIG = """
[kafka]
bootstrap = "127.0.0.1:1"
[registry]
url = "http://127.0.0.1:1"
[databases.south]
dsn = "{dsn}"
reader_dsn = "{dsn}"
[databases.north]
dsn = "host=127.0.0.1 port=1"
reader_dsn = "host=127.0.0.1 port=1"
[dead_letters]
key = "x"
key_id = "one"
[plugins]
enabled = ["apples", "pears", "plums"]
"""


class ControlHarness:
    def __init__(self, postgres: Any, folder: Path, call: Callable[..., tuple[int, str, str]]):
        self.name = postgres.fresh_database("smart_citizen")
        self.dsn = postgres.dsn(self.name, "sink_writer")
        self.admin = psycopg.connect(postgres.dsn(self.name), autocommit=True)
        self.config = folder / "sink-runner.toml"
        self.config.write_text(CONFIG.format(dsn=self.dsn))
        self._call = call
        self.health = Health()
        self.now = 0.0
        self.links: list[ControlLink] = []

    def __call__(self, *words: str) -> tuple[int, str, str]:
        return self._call(*words, "--config", str(self.config))

    def link(
        self,
        runner: str = "host:1",
        health: Health | None = None,
        reload: ReloadWatch | None = None,
    ) -> ControlLink:
        """Return the link of a runner that has the two mappings with events."""
        health = health or self.health
        for name in ("apples", "pears"):
            health.mapping(name)
        versions = {name: {"sink-runner": "1.0"} for name in ("apples", "pears")}
        dsn = Dsn.of(self.dsn)
        made = ControlLink(
            "south",
            dsn,
            versions,
            health,
            runner=runner,
            reload=reload,
            clock=lambda: self.now,
        )
        self.links.append(made)
        return made

    def run_all(self) -> None:
        for name in ("apples", "pears"):
            self.health.mapping(name).running()

    def pause_of(self, name: str) -> Pause | None:
        link = self.link()
        link.turn()
        return link.wanted_of(name).pause

    def rows(self, query: str) -> list[dict[str, Any]]:
        with self.admin.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query).fetchall()

    def close(self) -> None:
        for link in self.links:
            link.close()
        self.admin.close()


@pytest.fixture
def control(postgres: Any, site: Any, tmp_path: Path, call: Any) -> Any:
    """A database whose mappings are `apples`, `pears` and `plums`, which has only batch runs."""
    site.mapping("apples")
    site.mapping("pears")
    site.nightly("plums")
    harness = ControlHarness(postgres, tmp_path, call)
    yield harness
    harness.close()
