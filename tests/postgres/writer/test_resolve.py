"""The hooks `sink_resolve_conflict` and `sink_write` in real writes."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from sink_runner.errors import FatalError
from sink_runner.testing import TargetHarness, create, delete

MAPPING = """
from sink_runner.plugin import Column, TableMapping, FilterResult, hookimpl, newest_wins

@hookimpl
def sink_mapping():
    return TableMapping(
        source="north.public.scores", target="{database}.public.scores", key=("id",),
        conflict=newest_wins("at"),
        columns=(Column("id"), Column("best"), Column("note"), Column("at")),
    )
"""
HIGHEST = """
@hookimpl
def sink_resolve_conflict(incoming, current):
    assert isinstance(incoming["best"], int) and isinstance(current["best"], int)
    return incoming if incoming["best"] > current["best"] else current | {"note": "kept"}
"""
NO_RESULT = """
@hookimpl
def sink_resolve_conflict(incoming, current):
    return None
"""
MERGE_IN_PLACE = """
@hookimpl
def sink_resolve_conflict(incoming, current):
    current["note"].update(incoming["note"])
    return current
"""
ENDS_TRANSACTION = """
@hookimpl
def sink_write(changes, connection):
    connection.execute("{ending}")
"""
NO_COUNT = """
@hookimpl
def sink_write(changes, connection):
    connection.execute("INSERT INTO scores (id) VALUES (1)")
    return changes
"""
WRONG_TYPE = """
@hookimpl
def sink_resolve_conflict(incoming, current):
    return current | {"best": "many"}
"""
MISSING_COLUMN = """
@hookimpl
def sink_resolve_conflict(incoming, current):
    return {"id": incoming["id"]} if incoming["id"] == 1 else None
"""
OWN_WRITE = """
@hookimpl
def sink_write(changes, connection):
    if len(changes) > 1:
        return None
    for change in changes:
        values = (change.key[0], str(change.action) if change.action else change.row["note"])
        connection.execute("INSERT INTO scores (id, note) VALUES (%s, 'own: ' || %s)", values)
    return len(changes)
"""
TABLE = """
CREATE TABLE scores (id int PRIMARY KEY, best int, note {note}, at timestamp);
GRANT SELECT, INSERT, UPDATE, DELETE ON scores TO sink_writer;
"""
Make = Callable[..., TargetHarness]


@pytest.fixture
def make(postgres, site) -> Iterator[Make]:
    harnesses: list[TargetHarness] = []

    def build(code: str, note: str = "text") -> TargetHarness:
        name = postgres.fresh_database(like="smart_citizen")
        with psycopg.connect(postgres.dsn(name), autocommit=True) as admin:
            admin.execute(TABLE.format(note=note).encode())
        site.plugin("scores", MAPPING.format(database=name) + code)
        dsn = postgres.dsn(name, role="sink_writer")
        harnesses.append(TargetHarness("scores", dsn=dsn, admin_dsn=postgres.dsn(name)))
        return harnesses[0]

    yield build
    for harness in harnesses:
        harness.close()


def score(best: int, note: str = "new", identity: int = 1):
    return create(id=identity, best=best, note=note, at=None)


@pytest.mark.postgres
class TestResolve:
    def test_plugin_chooses_row(self, make: Make) -> None:
        target = make(HIGHEST)
        target.send(score(5, "first"))
        target.send(score(7, "higher"))
        assert target.rows("best", "note") == [{"best": 7, "note": "higher"}]

    def test_plugin_may_merge_rows(self, make: Make) -> None:
        target = make(HIGHEST)
        target.send(score(5, "first"))
        target.send(score(3, "lower"))
        assert target.rows("best", "note") == [{"best": 5, "note": "kept"}]

    def test_current_row_writes_nothing(self, make: Make) -> None:
        target = make(HIGHEST)
        target.send(score(5, "kept"))
        assert target.send(score(3, "lower")) == 0

    def test_each_event_is_resolved_separately(self, make: Make) -> None:
        target = make(HIGHEST)
        target.send(score(9, "high"), score(1, "low"), score(4, "middle"))
        assert target.rows("best", "note") == [{"best": 9, "note": "kept"}]

    def test_value_changed_in_place_is_written(self, make: Make) -> None:
        target = make(MERGE_IN_PLACE, note="jsonb")
        target.send(score(5, '{"a": 1}'))
        target.send(score(6, '{"b": 2}'))
        assert target.rows("best", "note") == [{"best": 5, "note": {"a": 1, "b": 2}}]

    def test_value_of_another_type_names_its_column(self, make: Make) -> None:
        target = make(WRONG_TYPE)
        target.send(score(5))
        target.send(score(6))
        (dead_letter,) = target.dead()
        assert dead_letter["error_message"] == "column 'best': expected a whole number"

    def test_none_takes_incoming_row(self, make: Make) -> None:
        target = make(NO_RESULT)
        target.send(score(5, "first"))
        target.send(score(3, "second"))
        assert target.rows("best") == [{"best": 3}]

    def test_failing_plugin_makes_dead_letter(self, make: Make) -> None:
        target = make(HIGHEST)
        target.send(score(5), score(8, identity=2))
        target.send(create(id=1, best=None, note="secret", at=None), score(9, identity=2))
        (dead_letter,) = target.dead()
        assert dead_letter["error_message"].startswith("sink_resolve_conflict of plugin 'scores'")
        assert "secret" not in dead_letter["stack_trace"]
        assert target.rows("best") == [{"best": 5}, {"best": 9}]

    def test_dead_letter_names_missing_column(self, make: Make) -> None:
        target = make(MISSING_COLUMN)
        target.send(score(5), score(8, identity=2))
        target.send(score(6), score(9, identity=2))
        (dead_letter,) = target.dead()
        assert "'best'" in dead_letter["error_message"]
        assert target.rows("best") == [{"best": 5}, {"best": 9}]


@pytest.mark.postgres
class TestWrite:
    def test_plugin_may_write_batch(self, make: Make) -> None:
        target = make(OWN_WRITE)
        assert target.send(score(5, "first")) == 1
        assert target.rows("note") == [{"note": "own: first"}]

    def test_runner_writes_batch_if_plugin_does_not(self, make: Make) -> None:
        target = make(OWN_WRITE)
        target.send(score(5, "a"), score(6, "b", identity=2))
        assert target.rows("note", order="id") == [{"note": "a"}, {"note": "b"}]

    def test_plugin_receives_removals(self, make: Make) -> None:
        target = make(OWN_WRITE)
        target.send(delete(id=3))
        assert target.rows("note") == [{"note": "own: Delete()"}]

    def test_invalid_count_makes_dead_letter(self, make: Make) -> None:
        target = make(NO_COUNT)
        assert target.send(score(5)) == 0
        (dead_letter,) = target.dead()
        message = "sink_write of plugin 'scores' returned a list, not a number"
        assert (dead_letter["error_message"], target.rows()) == (message, [])

    @pytest.mark.parametrize("ending", ["COMMIT", "ROLLBACK", "COMMIT; BEGIN"])
    def test_plugin_that_ends_transaction_stops_mapping(self, make: Make, ending: str) -> None:
        """The next attempt would find the offsets committed and skip the rows."""
        target = make(ENDS_TRANSACTION.format(ending=ending))
        with pytest.raises(FatalError, match="must not COMMIT"):
            target.send(score(5))

    def test_database_error_makes_dead_letter(self, make: Make) -> None:
        target = make(OWN_WRITE)
        target.send(score(5))
        target.send(score(6))
        assert [dead_letter["sqlstate"] for dead_letter in target.dead()] == ["23505"]
