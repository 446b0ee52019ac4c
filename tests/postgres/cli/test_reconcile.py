"""The command `reconcile`: what it prints and returns."""

import json
from pathlib import Path

import pytest

from ..reconcile.conftest import pair
from ..reconcile.test_comparing import people, write_config

pytestmark = pytest.mark.postgres
__all__ = ["pair", "people"]


@pytest.fixture
def reconcile(people, call, tmp_path: Path):
    """Call the command on thirty masked people that both databases have; nothing captures them."""
    config = write_config(people, tmp_path)
    return lambda *words: call("reconcile", *words, "--config", str(config))


def test_equal_sides_return_0(reconcile) -> None:
    code, out, _ = reconcile("golden-records", "--full", "--json")
    assert (code, json.loads(out)["outcome"]) == (0, "equal")
    code, out, _ = reconcile("--all")
    assert code == 0
    assert "unchanged by their digests since they were equal 30" in out


def test_row_in_flight_returns_1(reconcile, people) -> None:
    people.citizen.execute("DELETE FROM profile_data WHERE full_name = 'Person 7'")
    code, out, _ = reconcile("golden-records", "--full")
    assert code == 1
    assert "missing 0" in out
    assert "not yet applied 1" in out
    assert "Start Debezium" in out


def test_exit_zero_reports_difference_with_0(reconcile, people) -> None:
    people.citizen.execute("DELETE FROM profile_data WHERE full_name = 'Person 7'")
    code, out, _ = reconcile("golden-records", "--full", "--exit-zero", "--json")
    assert (code, json.loads(out)["outcome"]) == (0, "undecided")


def test_busy_mapping_returns_75(reconcile, people) -> None:
    with people.parts("golden-records"):
        code, _, err = reconcile("golden-records", "--exit-zero")
    assert code == 75
    assert "is being reconciled by another process" in err


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["golden-records", "--all"],
        ["golden-records", "--dry-run"],
        ["golden-records", "--full", "--since", "2026-01-01"],
        ["golden-records", "--sample", "0"],
    ],
    ids=" ".join,
)
def test_contradictory_options_return_2(call, words) -> None:
    assert call("reconcile", *words)[0] == 2
