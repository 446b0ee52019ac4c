"""All twelve flows with TLS and logins everywhere."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ...chaos.search import Search
from .. import fresh, story_portal, story_warehouse
from ..cast import Cast
from ..people import People
from ..scene import Scene
from ..test_twelve_flows import BATCHES, SETTLE_SECONDS, agrees
from .secured import SecureStack

pytestmark = pytest.mark.stack

FAMILIES = 40


@pytest.fixture(scope="module")
def scene(stack: SecureStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    log = tmp_path_factory.mktemp("secure") / "runner.log"
    with fresh.arena(stack, log, FAMILIES) as arena:
        cast = Cast(warehouse=arena.warehouse, citizen=arena.citizen, people=People(5))
        yield Scene(arena=arena, cast=cast)


@pytest.fixture(scope="module")
def agreed(scene: Scene) -> Scene:
    """The twelve flows agree; the second runner reads by the other client of Kafka."""
    story_warehouse.before(scene.cast)
    with scene.arena.runner():
        scene.arena.apply_all(SETTLE_SECONDS)
    with scene.arena.runner():
        story_warehouse.first(scene.cast)
        story_portal.first(scene.cast)
        agrees(scene, "the first changes", full=BATCHES)
    return scene


def test_twelve_flows_agree_with_both_clients(agreed: Scene) -> None:
    """The fixture has compared every target with the specification's own computation."""
    assert {report["mapping"] for report in agreed.batches} == set(BATCHES)


def test_no_log_or_process_list_holds_secrets(stack: SecureStack, agreed: Scene) -> None:
    home, settings = stack.stack.layout.home, stack.settings
    secrets = {f"password of {name}": text for name, text in stack.doors.passwords.items()}
    secrets |= {f"password of {role}": settings.password(role) for role in ("writer", "reader")}
    search = Search(secrets)
    found = [*search.find_in_files(home / "logs"), *search.find_in_files(agreed.arena.log.parent)]
    for part in ("kafka", "registry", "postgres", "warehouse", "citizen"):
        running = stack.stack.supervisor.running(part)
        assert running is not None
        found += search.find_in_bytes(part, Path(f"/proc/{running.pid}/cmdline").read_bytes())
    assert not found, "\n".join(map(str, found))
