"""A network that is cut, stalled or slow, each time proved to be the runner's own."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from ..stack.arena import until
from .ground import Ground
from .proxy import Proxy

_NOTICED_SECONDS = 30
_ON_ITS_WAY_SECONDS = 0.5


def cut(part: str) -> Callable[[Ground], None]:
    def strike(ground: Ground) -> None:
        link = _in_use(ground, part)
        with _healed(link):
            before = link.done.reset
            link.cut()
            assert link.done.reset > before, f"{part} had no connection"
            _nothing_passes(ground, part, 1.5, 3.5)

    return strike


def cut_registry(ground: Ground) -> None:
    """A runner that was just started knows no schema yet, and asks in vain."""
    link = _in_use(ground, "registry")
    ground.kill_runner()
    with _healed(link):
        link.cut()
        before = link.done.reset
        ground.runner()
        assert _soon(lambda: link.done.reset > before), "nobody asked the registry"
        _nothing_passes(ground, "registry", 0.5, 2.5)


def stall(part: str) -> Callable[[Ground], None]:
    def strike(ground: Ground) -> None:
        link = _in_use(ground, part)
        with _healed(link):
            before = link.done.held
            link.stall()
            assert _soon(lambda: link.done.held > before), f"nothing came for {part}"
            _nothing_passes(ground, part, 1.5, 7.5)

    return strike


def slow(ground: Ground) -> None:
    """All of it: the registry from the start of a runner on, which asks nothing of it later."""
    links, slowly = dict(ground.links), partial(ground.random.uniform, 0.05, 0.2)
    registry = links.pop("registry")
    with _healed(registry, *links.values()):
        registry.slow(slowly())
        _delayed("registry", registry, ground.restart_runner)
        for part, link in links.items():
            _delayed(part, link, lambda one=link: one.slow(slowly()))
        ground.pause(2, 4)


def _delayed(part: str, link: Proxy, act: Callable[[], object]) -> None:
    before = link.done.delayed
    act()
    assert _soon(lambda: link.done.delayed > before), f"{part} was not slow"


def _in_use(ground: Ground, part: str) -> Proxy:
    """The relay, once the runner's bytes were seen in it; the registry is asked at a start only."""
    link = ground.links[part]
    before = 0 if part == "registry" else link.done.carried
    assert _soon(lambda: link.done.carried > before), (
        f"the runner does not reach {part} by its relay"
    )
    return link


def _nothing_passes(ground: Ground, part: str, least: float, most: float) -> None:
    """For so long not a byte; without the target nothing is applied either."""
    time.sleep(_ON_ITS_WAY_SECONDS)
    carried, applied = ground.links[part].done.carried, ground.arena.progress()
    ground.pause(least, most)
    assert ground.links[part].done.carried == carried, f"{part} was reached"
    if part == "postgres":
        assert ground.arena.progress() == applied, "the target was reached past its relay"


@contextmanager
def _healed(*links: Proxy) -> Iterator[None]:
    """In the end, whatever was found."""
    try:
        yield
    finally:
        for link in links:
            link.heal()


def _soon(fact: Callable[[], bool]) -> bool:
    return until(fact, _NOTICED_SECONDS)
