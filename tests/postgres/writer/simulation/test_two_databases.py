"""Two databases with a mapping in each direction converge, despite crashes and replays."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sink_runner.testing import TargetHarness

from .two_databases import DDL, PLUGIN, Direction, Side, play

pytestmark = pytest.mark.postgres
STEPS = 50
SIDES = ("warehouse", "citizen")
CONFLICTS = "SELECT count(*) FROM sink.conflict WHERE resolved_at IS NULL"


class Simulation:
    """Two new databases and a mapping in each direction."""

    def __init__(self, postgres: Any, skews: tuple[int, int]) -> None:
        names = [postgres.fresh_database(like=f"smart_{side}") for side in SIDES]
        self.sides = [
            Side(postgres.dsn(name), skew) for name, skew in zip(names, skews, strict=True)
        ]
        for side in self.sides:
            side.admin.execute(DDL)

        def start(name: str, other: str, target: int) -> Callable[[], TargetHarness]:
            return lambda: TargetHarness(
                name,
                dsn=postgres.dsn(names[target], "sink_writer"),
                admin_dsn=postgres.dsn(names[target]),
                beside=(other,),
            )

        one, other = self.sides
        self.directions = [
            Direction(one, other, start("there", "back", 1)),
            Direction(other, one, start("back", "there", 0)),
        ]

    def play(self, seed: int) -> None:
        play(self.sides, self.directions, seed, STEPS)

    def is_equal(self) -> bool:
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
def simulate(postgres, site) -> Iterator[Callable[..., Simulation]]:
    simulations: list[Simulation] = []

    def build(ties: tuple[str, str], skews: tuple[int, int] = (0, 0)) -> Simulation:
        for name, (source, target), tie in (
            ("there", SIDES, ties[0]),
            ("back", SIDES[::-1], ties[1]),
        ):
            site.plugin(name, PLUGIN.format(source=source, target=target, tie=tie))
        simulations.append(Simulation(postgres, skews))
        return simulations[-1]

    yield build
    for one in simulations:
        one.close()


@pytest.mark.parametrize("skews", [(0, 0), (0, 3), (-20, 0)], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_databases_converge_and_traffic_stops(simulate, seed: int, skews: tuple[int, int]) -> None:
    simulation = simulate(("SOURCE", "TARGET"), skews)
    simulation.play(seed)
    assert simulation.is_equal()
    assert simulation.open_conflicts() == 0


def test_ties_won_by_both_sides_diverge(simulate) -> None:
    """The simulator finds a history that diverges if both mappings win ties."""
    simulation = simulate(("SOURCE", "SOURCE"))
    converged = []
    for seed in range(12):
        simulation.play(seed)
        converged.append(simulation.is_equal())
        if not converged[-1]:
            break
    assert not all(converged)
