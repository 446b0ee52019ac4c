"""All twelve flows with TLS and logins everywhere, and then the search for what was written."""

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sink_stack.stack import sink_runner

from ...chaos.ground import LONG_LOCK, Ground
from ...chaos.search import Find, Search
from ...chaos.test_canaries import (
    lines,
    said,
    search,
    test_neither_commands_nor_api_nor_figures_tell_value,
    test_no_log_or_file_of_stack_holds_value,
    test_no_other_topic_holds_a_value,
    test_no_table_holds_value_that_policy_forbids_it,
    test_no_topic_holds_what_is_not_captured,
)
from .. import fresh, story_portal, story_warehouse
from ..cast import Cast
from ..people import People
from ..scene import Scene
from ..test_twelve_flows import BATCHES, SETTLE_SECONDS, agrees
from .secured import SecureStack

pytestmark = pytest.mark.stack

__all__ = [
    "said",
    "search",
    "test_neither_commands_nor_api_nor_figures_tell_value",
    "test_no_log_or_file_of_stack_holds_value",
    "test_no_other_topic_holds_a_value",
    "test_no_table_holds_value_that_policy_forbids_it",
    "test_no_topic_holds_what_is_not_captured",
]
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


@pytest.fixture(scope="module")
def ground(stack: SecureStack, agreed: Scene) -> Iterator[Ground]:
    """The same databases for the search, whose runner needs no relays."""
    made = Ground(
        stack=stack,
        arena=agreed.arena,
        links={},
        random=random.Random(1),
        rounds=1,
        lock_seconds=LONG_LOCK,
    )
    yield made
    made.kill_runner()


def test_twelve_flows_agree_with_both_clients(agreed: Scene) -> None:
    """The fixture has compared every target with the specification's own computation."""
    assert {report["mapping"] for report in agreed.batches} == set(BATCHES)


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("SINK_REGISTRY_PASSWORD", "refuses user 'sink' (status 401): check registry.username"),
        ("SINK_KAFKA_PASSWORD", "refuses the login of user 'sink' by SCRAM-SHA-512"),
    ],
)
def test_wrong_password_is_named(agreed: Scene, variable: str, message: str) -> None:
    done = subprocess.run(
        sink_runner("schema", "check", "--mapping", "decisions", "--json"),
        cwd=agreed.arena.root,
        env={**agreed.arena.environment, variable: "zq7other"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert message in done.stdout + done.stderr
    assert "zq7other" not in done.stdout + done.stderr


def test_no_log_or_process_list_holds_secrets(
    said: list[Find], stack: SecureStack, ground: Ground
) -> None:
    home, settings = stack.stack.layout.home, stack.settings
    secrets = {f"password of {name}": text for name, text in stack.doors.passwords.items()}
    secrets |= {f"password of {role}": settings.password(role) for role in ("writer", "reader")}
    search = Search(secrets)
    found = [*search.in_files(home / "logs"), *search.in_files(ground.arena.log.parent)]
    for part in ("kafka", "registry", "postgres", "warehouse", "citizen"):
        running = stack.stack.supervisor.running(part)
        assert running is not None
        found += search.in_bytes(part, Path(f"/proc/{running.pid}/cmdline").read_bytes())
    assert not found, lines(found)
