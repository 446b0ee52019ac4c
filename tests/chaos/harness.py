"""Run a runner behind proxies on two databases under load, so that faults can be injected."""

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
from ..stack import demo_deployment, load
from ..stack.deployment import Deployment, Runner, describe_differences
from .proxy import Proxy

FAMILIES = 20
RATE = 12.0
LAG_SECONDS = 60
SHORT_LOCK, LONG_LOCK = 5.0, 62.0
_DEFERRED_SECONDS = 20
_SETTLE_SECONDS = 120
_UPDATE = "UPDATE golden_records SET age = coalesce(age, 0) + 1"
_SHORT_TIMEOUT = """
[batch]
timeout_seconds = {seconds}
"""
# The runner's lock timeout is half of this, so even SHORT_LOCK exceeds it.
TIMEOUT_SECONDS = 4.0


@dataclass(slots=True, kw_only=True)
class Harness:
    """The parts that a fault may break, and the means to restore them."""

    stack: StackUnderTest
    deployment: Deployment
    proxies: Mapping[str, Proxy]
    """By server: postgres, kafka and registry."""
    random: random.Random
    rounds: int
    lock_seconds: float
    changes: int = 0
    """Number of transactions of the load so far."""
    _seeds: Iterator[int] = field(default_factory=itertools.count)
    _runner: Runner | None = None

    # -- the runner ------------------------------------------------------------------------------

    def ensure_runner(self, **variables: str) -> Runner:
        """Return the runner; start one behind the proxies if none is running."""
        if self._runner is None or not self._runner.running:
            config = {"SINK_CONFIG": str(self.deployment.log.with_name("sink-runner.toml"))}
            ports = {
                self.stack.settings.port(server): proxy.port
                for server, proxy in self.proxies.items()
            }
            addresses = redirect_to_proxies(self.deployment.environment, ports)
            environment = {**self.deployment.environment, **addresses, **config, **variables}
            self._runner = Runner.start(replace(self.deployment, environment=environment))
        return self._runner

    def kill_runner(self) -> None:
        if self._runner is not None:
            self._runner.kill()
            self._runner = None

    def restart_runner(self) -> None:
        """Kill the runner and start another one, as a supervisor would."""
        self.kill_runner()
        self.pause(0.1, 1)
        self.ensure_runner()

    def capture_log(self) -> Callable[[], str]:
        """Return a function that returns what the runners have logged since this call."""
        since = self.deployment.log.stat().st_size

        def read_log() -> str:
            with self.deployment.log.open("rb") as log:
                log.seek(since)
                return log.read().decode(errors="replace")

        return read_log

    # -- load ------------------------------------------------------------------------------------

    def pause(self, minimum: float, maximum: float) -> None:
        time.sleep(self.random.uniform(minimum, maximum))

    def update_golden_records(self) -> None:
        """Change every golden record, so that each partition gets events."""
        self.deployment.warehouse.execute(_UPDATE)

    @contextmanager
    def run_load(self) -> Iterator[None]:
        """Run the load during the block; it ends early if the databases go down."""
        # Seeds differ, so that each load generates other Aadhaar numbers.
        seed = self.random.randrange(1_000) * 1_000 + 100 + next(self._seeds) % 900
        running_load = None
        try:
            with load.run_in_background(
                *self.deployment.dsns, seed=seed, rate=RATE
            ) as running_load:
                yield
        except psycopg.OperationalError:
            self.reconnect()
        finally:
            self.changes += running_load.done.total() if running_load else 0

    def reconnect(self) -> None:
        """Open new sessions: the restart of a server has ended the old ones."""
        self.disconnect()
        settings = self.stack.settings
        self.deployment = replace(
            self.deployment,
            dsns=(settings.admin_dsn("smart_warehouse"), settings.admin_dsn("smart_citizen")),
            environment={**self.deployment.environment, **self.stack.env},
            warehouse=self.stack.admin("smart_warehouse"),
            citizen=self.stack.admin("smart_citizen"),
        )

    def disconnect(self) -> None:
        self.deployment.warehouse.close()
        self.deployment.citizen.close()

    # -- waiting ---------------------------------------------------------------------------------

    def seconds_to_apply_all(self) -> float | None:
        """Return the seconds until every change is applied; None if that exceeds LAG_SECONDS."""
        return self.deployment.seconds_to_apply_all(LAG_SECONDS)

    def find_differences(self) -> list[Difference]:
        return self.deployment.remaining_differences(_DEFERRED_SECONDS)


def redirect_to_proxies(
    environment: Mapping[str, str], proxies: Mapping[int, int]
) -> dict[str, str]:
    """Return the SINK_ variables with each server's port replaced by its proxy's port.

    It is an error if a server is in no variable, or if a variable still has a server's port.
    """
    variables = {name: text for name, text in environment.items() if name.startswith("SINK_")}
    for server, proxy in proxies.items():
        direct, proxied = f"127.0.0.1:{server}", f"127.0.0.1:{proxy}"
        variables = {name: text.replace(direct, proxied) for name, text in variables.items()}
        assert any(proxied in text for text in variables.values()), f"no address has port {server}"
        bypassing = [name for name, text in variables.items() if f":{server}" in text]
        assert not bypassing, f"{bypassing} bypass the proxy of port {server}"
    return variables


@contextmanager
def open_harness(stack: StackUnderTest, log: Path, *, seed: int, rounds: int) -> Iterator[Harness]:
    """Yield a harness whose databases have the demo data, all of it applied."""
    with demo_deployment.deploy(stack, log, FAMILIES) as deployment:
        settings = stack.settings
        proxies = {
            server: Proxy(settings.port(server), kafka=server == "kafka")
            for server in ("postgres", "kafka", "registry")
        }
        first, last = (
            "retry_steps = [0.5, 1.0, 2.0]\n",
            _SHORT_TIMEOUT.format(seconds=TIMEOUT_SECONDS),
        )
        demo_deployment.write_config(deployment.root, log.parent, first, last)
        harness = Harness(
            stack=stack,
            deployment=deployment,
            proxies=proxies,
            random=random.Random(seed),
            rounds=rounds,
            lock_seconds=SHORT_LOCK if rounds == 1 else LONG_LOCK,
        )
        try:
            harness.ensure_runner()
            differences = deployment.settle(_SETTLE_SECONDS)
            assert not differences, describe_differences(differences)
            yield harness
        finally:
            harness.kill_runner()
            harness.disconnect()  # The deployment does not close sessions that reconnect() opened.
            for proxy in proxies.values():
                proxy.close()
