"""Network faults: a proxy cuts, stalls or delays connections, and its counts prove the effect."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from ..stack.deployment import wait_until
from .harness import Harness
from .proxy import Proxy

_EFFECT_SECONDS = 30
_IN_FLIGHT_SECONDS = 0.5


def cut_connections(server: str) -> Callable[[Harness], None]:
    def inject(harness: Harness) -> None:
        proxy = _wait_for_traffic(harness, server)
        with _restore_after(proxy):
            before = proxy.stats.reset_connections
            proxy.cut()
            assert proxy.stats.reset_connections > before, (
                f"the runner had no connection to {server}"
            )
            _check_no_traffic(harness, server, 1.5, 3.5)

    return inject


def cut_registry(harness: Harness) -> None:
    """Restart the runner, too: it needs the registry only while it has no schema in its cache."""
    proxy = _wait_for_traffic(harness, "registry")
    harness.kill_runner()
    with _restore_after(proxy):
        proxy.cut()
        before = proxy.stats.reset_connections
        harness.ensure_runner()
        assert _wait_for(lambda: proxy.stats.reset_connections > before), (
            "the runner did not connect to the registry"
        )
        _check_no_traffic(harness, "registry", 0.5, 2.5)


def stall_connections(server: str) -> Callable[[Harness], None]:
    def inject(harness: Harness) -> None:
        proxy = _wait_for_traffic(harness, server)
        with _restore_after(proxy):
            before = proxy.stats.stalled_bytes
            proxy.stall()
            assert _wait_for(lambda: proxy.stats.stalled_bytes > before), (
                f"the runner sent nothing to {server}"
            )
            _check_no_traffic(harness, server, 1.5, 7.5)

    return inject


def delay_all(harness: Harness) -> None:
    """Delay all servers; restart the runner for the registry, which it uses only at its start."""
    proxies, draw_seconds = dict(harness.proxies), partial(harness.random.uniform, 0.05, 0.2)
    registry = proxies.pop("registry")
    with _restore_after(registry, *proxies.values()):
        registry.delay(draw_seconds())
        _check_delay("registry", registry, harness.restart_runner)
        for server, proxy in proxies.items():
            _check_delay(server, proxy, lambda proxy=proxy: proxy.delay(draw_seconds()))
        harness.pause(2, 4)


def _check_delay(server: str, proxy: Proxy, cause_traffic: Callable[[], object]) -> None:
    before = proxy.stats.delayed_bytes
    cause_traffic()
    assert _wait_for(lambda: proxy.stats.delayed_bytes > before), (
        f"no byte to or from {server} was delayed"
    )


def _wait_for_traffic(harness: Harness, server: str) -> Proxy:
    """Return the proxy of a server once the runner's bytes have passed it.

    For the registry, bytes that passed earlier are enough: the runner uses it only at its start.
    """
    proxy = harness.proxies[server]
    before = 0 if server == "registry" else proxy.stats.forwarded_bytes
    assert _wait_for(lambda: proxy.stats.forwarded_bytes > before), (
        f"the runner does not use the proxy of {server}"
    )
    return proxy


def _check_no_traffic(harness: Harness, server: str, minimum: float, maximum: float) -> None:
    """Check that no byte passes for a while; for postgres, also that no change is applied."""
    time.sleep(_IN_FLIGHT_SECONDS)
    forwarded, applied = (
        harness.proxies[server].stats.forwarded_bytes,
        harness.deployment.progress(),
    )
    harness.pause(minimum, maximum)
    assert harness.proxies[server].stats.forwarded_bytes == forwarded, f"{server} was reached"
    if server == "postgres":
        assert harness.deployment.progress() == applied, "the runner bypassed the proxy of postgres"


@contextmanager
def _restore_after(*proxies: Proxy) -> Iterator[None]:
    try:
        yield
    finally:
        for proxy in proxies:
            proxy.restore()


def _wait_for(condition: Callable[[], bool]) -> bool:
    return wait_until(condition, _EFFECT_SECONDS)
