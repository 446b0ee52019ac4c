"""The command `resync` on two databases: it checks everything before it changes a row."""

from pathlib import Path
from typing import Any

import pytest

from ..reconcile.conftest import pair
from ..reconcile.test_comparing import people, write_config

pytestmark = pytest.mark.postgres
__all__ = ["pair", "people"]
NAME = "golden-records"
COUNT = "SELECT count(*) FROM profile_data"


@pytest.fixture
def resync(people: Any, call: Any, tmp_path: Path) -> Any:
    """Call the command on thirty people that both databases have."""
    config = write_config(people, tmp_path)
    return lambda *words: call(*words, "--config", str(config))


def count(people: Any) -> int:
    ((found,),) = people.citizen.execute(COUNT).fetchall()
    return found


def damage(people: Any) -> None:
    """Delete a row of the target, and one of the source."""
    people.citizen.execute("DELETE FROM profile_data WHERE full_name = 'Person 7'")
    people.warehouse.execute("DELETE FROM golden_records WHERE full_name = 'Person 8'")


def test_resync_repairs_missing_and_extra_rows(resync: Any, people: Any) -> None:
    damage(people)
    code, out, err = resync("resync", NAME, "--yes", "--as", "ada")
    assert code == 0, err
    assert "29 rows of smart_warehouse.public.golden_records are read" in out
    assert count(people) == 29
    names = {name for (name,) in people.citizen.execute("SELECT full_name FROM profile_data")}
    assert "Person 7" in names
    assert "Person 8" not in names
    row = people.citizen.execute("SELECT kind, requested_by, outcome FROM sink.control_request")
    assert row.fetchall() == [("resync", "ada", "done")]


@pytest.mark.parametrize(("words", "code"), [(("--dry-run",), 0), ((), 78)])
def test_plan_of_resync_changes_nothing(
    resync: Any, people: Any, words: tuple[str, ...], code: int
) -> None:
    damage(people)
    found, out, _ = resync("resync", NAME, *words)
    assert found == code
    assert "target rows that the source no longer has are removed" in out
    assert count(people) == 29


def test_empty_source_is_refused(resync: Any, people: Any) -> None:
    people.warehouse.execute("DELETE FROM golden_records")
    code, _, err = resync("resync", NAME, "--yes")
    assert code == 78
    assert "would empty smart_citizen.public.profile_data, which has 30" in err
    assert f"`sink-runner batch {NAME} --full`" in err
    assert count(people) == 30


def test_missing_grant_is_refused_before_any_change(resync: Any, people: Any) -> None:
    damage(people)
    people.citizen.execute("REVOKE INSERT ON profile_data FROM sink_writer")
    people.citizen.execute("REVOKE INSERT (full_name) ON profile_data FROM sink_writer")
    code, _, err = resync("resync", NAME, "--yes")
    assert code == 78
    assert "INSERT" in err
    assert count(people) == 29


def test_paused_mapping_is_refused_unless_forced(resync: Any, people: Any) -> None:
    damage(people)
    resync("pause", NAME, "--reason", "maintenance")
    code, _, err = resync("resync", NAME, "--yes")
    assert code == 75
    assert f"`sink-runner resume {NAME}`" in err
    assert resync("resync", NAME, "--yes", "--even-if-paused")[0] == 0
    assert count(people) == 29
