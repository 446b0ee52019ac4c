"""Two databases with history and load, a runner behind relays, and the way back to rest."""

import itertools
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
from sink_stack.testing_stack import StackUnderTest

from ..oracle.comparison import Difference
from ..stack import fresh, load
from ..stack.arena import Arena, Runner, told
from .proxy import Proxy

FAMILIES = 20
RATE = 12.0
LAG_SECONDS = 60
SHORT_LOCK, LONG_LOCK = 5.0, 62.0
_DEFERRED_SECONDS = 20
_SETTLE_SECONDS = 120
_TOUCH = "UPDATE golden_records SET age = coalesce(age, 0) + 1"
_CONFIG = """
[batch]
timeout_seconds = {seconds}
"""
# A lock is waited for half as long: what is slow or locked in the short form runs out of time.
TIMEOUT_SECONDS = 4.0


@dataclass(slots=True, kw_only=True)
class Ground:
    """What a fault may break, and how it is put right."""

    stack: StackUnderTest
    arena: Arena
    links: Mapping[str, Proxy]
    random: random.Random
    rounds: int
    lock_seconds: float
    changes: int = 0
    """Transactions of the load so far."""
    _seeds: Iterator[int] = field(default_factory=itertools.count)
    _runner: Runner | None = None

    # -- the runner ------------------------------------------------------------------------------

    def runner(self, **more: str) -> Runner:
        """The runner that is behind the relays, started if there is none."""
        if self._runner is None or not self._runner.running:
            config = {"SINK_CONFIG": str(self.arena.log.with_name("sink-runner.toml"))}
            ports = {self.stack.settings.port(part): link.port for part, link in self.links.items()}
            by_relays = relayed(self.arena.environment, ports)
            environment = {**self.arena.environment, **by_relays, **config, **more}
            self._runner = Runner.start(replace(self.arena, environment=environment))
        return self._runner

    def kill_runner(self) -> None:
        if self._runner is not None:
            self._runner.kill()
            self._runner = None

    def restart_runner(self) -> None:
        """As a supervisor does with one that was killed."""
        self.kill_runner()
        self.pause(0.1, 1)
        self.runner()

    def listen(self) -> Callable[[], str]:
        """What the runners say from now on, as a function that tells it."""
        since = self.arena.log.stat().st_size

        def said() -> str:
            with self.arena.log.open("rb") as log:
                log.seek(since)
                return log.read().decode(errors="replace")

        return said

    # -- load ------------------------------------------------------------------------------------

    def pause(self, least: float, most: float) -> None:
        time.sleep(self.random.uniform(least, most))

    def touch(self) -> None:
        """Every golden record changes, in every partition."""
        self.arena.warehouse.execute(_TOUCH)

    @contextmanager
    def loaded(self) -> Iterator[None]:
        """Act on both databases meanwhile; if they go down, the load is over."""
        number = next(self._seeds)
        seed = self.random.randrange(1_000) * 1_000 + 100 + number % 900  # numbers stay apart
        acting = None
        try:
            with load.running(*self.arena.dsns, seed=seed, rate=RATE) as acting:
                yield
        except psycopg.OperationalError:
            self.reconnect()
        finally:
            self.changes += acting.done.total() if acting else 0

    def reconnect(self) -> None:
        """The sessions of before do not outlive their server."""
        self.disconnect()
        settings = self.stack.settings
        self.arena = replace(
            self.arena,
            dsns=(settings.admin_dsn("smart_warehouse"), settings.admin_dsn("smart_citizen")),
            environment={**self.arena.environment, **self.stack.env},
            warehouse=self.stack.admin("smart_warehouse"),
            citizen=self.stack.admin("smart_citizen"),
        )

    def disconnect(self) -> None:
        self.arena.warehouse.close()
        self.arena.citizen.close()

    # -- rest ------------------------------------------------------------------------------------

    def seconds_to_rest(self) -> float | None:
        """How long until every change was captured and applied, or None if it is too long."""
        return self.arena.seconds_to_rest(LAG_SECONDS)

    def differences(self) -> list[Difference]:
        return self.arena.remaining_differences(_DEFERRED_SECONDS)


def relayed(environment: Mapping[str, str], relays: Mapping[int, int]) -> dict[str, str]:
    """The sink's variables with the relays' ports in place of the servers'; no way leads past."""
    found = {name: text for name, text in environment.items() if name.startswith("SINK_")}
    for server, relay in relays.items():
        here, there = f"127.0.0.1:{relay}", f"127.0.0.1:{server}"
        found = {name: text.replace(there, here) for name, text in found.items()}
        assert any(here in text for text in found.values()), f"no address has port {server}"
        past = [name for name, text in found.items() if f":{server}" in text]
        assert not past, f"{past} lead past the relay of port {server}"
    return found


@contextmanager
def prepared(stack: StackUnderTest, log: Path, *, seed: int, rounds: int) -> Iterator[Ground]:
    """Databases with the demo's rows, all of them applied."""
    with fresh.arena(stack, log, FAMILIES) as arena:
        settings = stack.settings
        links = {
            part: Proxy(settings.port(part), kafka=part == "kafka")
            for part in ("postgres", "kafka", "registry")
        }
        impatient(arena.root, log.parent)
        ground = Ground(
            stack=stack,
            arena=arena,
            links=links,
            random=random.Random(seed),
            rounds=rounds,
            lock_seconds=SHORT_LOCK if rounds == 1 else LONG_LOCK,
        )
        try:
            ground.runner()
            left = arena.settle(_SETTLE_SECONDS)
            assert not left, told(left)
            yield ground
        finally:
            ground.kill_runner()
            ground.disconnect()  # from whom the arena does not know: they came after a fault
            for link in links.values():
                link.close()


def impatient(root: Path, folder: Path) -> None:
    """The repository's configuration, with less time for a statement and between attempts."""
    text = (root / "sink-runner.toml").read_text(encoding="utf-8")
    config = "retry_steps = [0.5, 1.0, 2.0]\n" + text + _CONFIG.format(seconds=TIMEOUT_SECONDS)
    (folder / "sink-runner.toml").write_text(config, encoding="utf-8")
    (folder / "ranger-policies").symlink_to(root / "ranger-policies")
