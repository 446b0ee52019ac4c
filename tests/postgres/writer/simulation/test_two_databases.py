"""Two databases that feed each other end equal, whatever happens in between."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sink_runner.testing import TargetHarness

from .two_databases import DDL, PLUGIN, Direction, Side, play

pytestmark = pytest.mark.postgres
STEPS = 50
SIDES = ("warehouse", "citizen")
CONFLICTS = "SELECT count(*) FROM sink.conflict WHERE resolved_at IS NULL"


class World:
    """Both databases and both mappings, fresh."""

    def __init__(self, postgres: Any, skews: tuple[int, int]) -> None:
        names = [postgres.fresh_database(like=f"smart_{side}") for side in SIDES]
        self.sides = [
            Side(postgres.dsn(name), skew) for name, skew in zip(names, skews, strict=True)
        ]
        for side in self.sides:
            side.admin.execute(DDL)

        def start(name: str, beside: str, target: int) -> Callable[[], TargetHarness]:
            return lambda: TargetHarness(
                name,
                dsn=postgres.dsn(names[target], "sink_writer"),
                admin_dsn=postgres.dsn(names[target]),
                beside=(beside,),
            )

        one, other = self.sides
        self.directions = [
            Direction(one, other, start("there", "back", 1)),
            Direction(other, one, start("back", "there", 0)),
        ]

    def play(self, seed: int) -> None:
        play(self.sides, self.directions, seed, STEPS)

    def equal(self) -> bool:
        one, other = (side.rows() for side in self.sides)
        assert one
        return one == other

    def open_conflicts(self) -> int:
        return sum(side.admin.execute(CONFLICTS).fetchone()[0] for side in self.sides)

    def close(self) -> None:
        for direction in self.directions:
            direction.close()
        for side in self.sides:
            side.admin.close()


@pytest.fixture
def world(postgres, site) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def build(ties: tuple[str, str], skews: tuple[int, int] = (0, 0)) -> World:
        for name, (source, target), tie in (
            ("there", SIDES, ties[0]),
            ("back", SIDES[::-1], ties[1]),
        ):
            site.plugin(name, PLUGIN.format(source=source, target=target, tie=tie))
        made.append(World(postgres, skews))
        return made[-1]

    yield build
    for one in made:
        one.close()


@pytest.mark.parametrize("skews", [(0, 0), (0, 3), (-20, 0)], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_they_end_equal_and_at_rest(world, seed: int, skews: tuple[int, int]) -> None:
    made = world(("SOURCE", "TARGET"), skews)
    made.play(seed)
    assert made.equal()
    assert made.open_conflicts() == 0


def test_ties_need_an_order_of_the_sides(world) -> None:
    """What the simulator is good for: where both would win, some history ends in two rows."""
    made = world(("SOURCE", "SOURCE"))
    ended = []
    for seed in range(12):
        made.play(seed)
        ended.append(made.equal())
        if not ended[-1]:
            break
    assert not all(ended)
