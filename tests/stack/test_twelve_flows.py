"""All twelve flows on the real stack, and the specification's own computation of every target."""

from collections import Counter

import pytest

from ..oracle import history
from ..oracle.targets import TARGETS
from . import fresh, latency, story_portal, story_warehouse
from .arena import describe_differences
from .cast import Cast
from .people import People
from .scene import Scene

pytestmark = pytest.mark.stack

FAMILIES = 200
BATCHES = ("schemes", "golden-records", "profiles", "user-behavior", "feedback")
# What citizens write is what golden-records reads.
EVENTS = (
    "citizens", "golden-records", "profiles", "eligibility-snapshots", "benefit-forecasts",
    "decisions", "alerts", "applications", "documents",
)  # fmt: skip
BROKEN = Counter(story_warehouse.BROKEN) + Counter(story_portal.BROKEN)
CAPTURE = ("warehouse", "citizen")
SETTLE_SECONDS = 60


@pytest.fixture(scope="module")
def scene(stack, tmp_path_factory):
    """The scenario as far as it has come: the tests of this module follow each other."""
    log = tmp_path_factory.mktemp("runner") / "log"
    with fresh.arena(stack, log, FAMILIES) as arena:
        cast = Cast(warehouse=arena.warehouse, citizen=arena.citizen, people=People(5))
        yield Scene(arena=arena, cast=cast)


@pytest.fixture(scope="module")
def begun(scene):
    """What the story is at after the twelve flows agreed three times."""
    cast = scene.cast
    story_warehouse.before(cast)
    with scene.arena.runner():
        agrees(scene, "the demo data", full=BATCHES)
        keys = latency.probe(cast)
        warehouse, portal = story_warehouse.first(cast), story_portal.first(cast)
        agrees(scene, "the first changes")
        story_warehouse.second(cast, warehouse)
        story_portal.second(cast, portal)
        agrees(scene, "the second changes")
        story_portal.third(cast, portal)
        agrees(scene, "one who leaves", full=BATCHES)
    return keys, warehouse, portal


def test_twelve_flows_agree_within_their_limits(scene, begun, stack):
    keys, *_ = begun
    taken = dict(latency.measured(scene.cast, keys))
    scene.report(taken, stack.stack.layout.home / "scenario.txt")
    slow = {
        flow: seconds
        for flow, seconds in taken.items()
        if latency.percentile(seconds, 95) > latency.FLOWS[flow].limit
    }
    assert not slow


@pytest.mark.usefixtures("begun")
def test_every_broken_rule_is_dead_letter_and_counted(scene):
    """Once for each event, and once more for each batch that finds the row still broken."""
    assert scene.dead_letters() == scene.counted()
    again = {name for name in BROKEN if name in BATCHES}
    assert {name: rows for name, rows in scene.dead_letters().items() if name not in again} == {
        name: rows for name, rows in BROKEN.items() if name not in again
    }
    assert all(scene.dead_letters()[name] > BROKEN[name] for name in again)
    assert all("breaks rule '" in error for error in scene.errors())


@pytest.mark.usefixtures("begun")
def test_alert_without_recipient_is_deferred(scene):
    assert scene.dead_letters("PARKED")["alerts"] == 1


def test_changes_that_carry_nothing_write_nothing(scene, begun):
    _, warehouse, portal = begun
    before = scene.writers()
    with scene.arena.runner():
        story_portal.idle(scene.cast, portal)
        story_warehouse.idle(scene.cast, warehouse)
        left = scene.settle()
    assert not left, describe_differences(left)
    assert scene.writers() == before


def test_batches_stand_in_for_capture_that_is_down(scene, begun, stack):
    _, warehouse, portal = begun
    for part in CAPTURE:
        stack.stop(part)
    story_warehouse.unseen(scene.cast, warehouse)
    story_portal.unseen(scene.cast, portal)
    for name in EVENTS:
        scene.batch(name, "--full", tolerate=BROKEN[name])
    left = scene.differences()
    assert not left, describe_differences(left)
    before = targets(scene)
    stack.revive()
    with scene.arena.runner():
        left = scene.settle()
    assert not left, describe_differences(left)
    assert targets(scene) == before


def agrees(scene: Scene, after: str, *, full: tuple[str, ...] = ("schemes",)) -> None:
    scene.arena.apply_all(SETTLE_SECONDS)
    for name in BATCHES:
        scene.batch(name, *["--full"] * (name in full), tolerate=BROKEN[name])
    left = scene.settle()
    assert not left, f"after {after}: {describe_differences(left)}"


def targets(scene: Scene) -> dict[str, list[dict[str, object]]]:
    """Every row of the targets, without the time at which it was written."""
    queries = {flow: (target.query, target.in_portal) for flow, target in TARGETS.items()}
    queries["profile_data"] = "SELECT * FROM public.profile_data", True
    queries["eligibility_hints"] = "SELECT * FROM public.eligibility_hints", True
    queries["golden_records"] = "SELECT * FROM public.golden_records", False
    return {
        name: sorted(
            (
                {**row, "synced_at": None}
                for row in history.fetch_rows(scene.place(in_portal), query)
            ),
            key=str,
        )
        for name, (query, in_portal) in queries.items()
    }
