"""Lookups of values and of keys in the route."""

from typing import Any, ClassVar

import pytest

from sink_runner.errors import EventError, RetriableError, WaitingError
from sink_runner.model.changes import Write
from sink_runner.plugin import ABSENT
from sink_runner.testing import Harness, create, delete, update

from .people import ROW, SECRET, Make, error_of


class TestLookups:
    LOOKUP = 'Lookup("SELECT %s", database="south")'

    def columns(self, more: str = "") -> str:
        return f'Column("id"), Column("name", lookup={self.LOOKUP}{more}), Column("city")'

    def test_lookup_runs_once_for_batch(self, make: Make) -> None:
        lookups = []

        def resolve(column: str, values: set[Any]) -> dict[Any, Any]:
            lookups.append((column, values))
            return {"a": "A", "b": None}

        sink = make(columns=self.columns(), resolve=resolve)
        names = ["a", "b", "c", None, "a"]
        batch = sink.apply(*(create(**ROW | {"name": name}) for name in names))
        assert lookups == [("name", {"a", "b", "c"})]
        assert [change.values[1] for change in batch.changes] == ["A", None, None, None, "A"]

    def test_batch_without_lookup_keys_runs_no_lookup(self, make: Make) -> None:
        sink = make(columns=self.columns(), resolve=None, found={"name": {None: "wrong"}})
        assert sink.send(create(**ROW | {"name": None})).row["name"] is None
        assert sink.send(delete(**ROW)).leaves

    def test_required_lookup_must_find_value(self, make: Make) -> None:
        sink = make(columns=self.columns(", required=True"), found={"name": {"a": "A"}})
        assert sink.send(create(**ROW | {"name": "a"})).row["name"] == "A"
        assert "'name' found nothing" in str(error_of(sink.send(create(**ROW | {"name": "c"}))))

    def test_required_null_is_not_looked_up(self, make: Make) -> None:
        sink = make(columns=self.columns(", required=True"), found={"name": {None: "wrong"}})
        assert "'name' breaks rule 'required'" in str(
            error_of(sink.send(create(**ROW | {"name": None})))
        )

    def test_must_resolve_permits_null(self, make: Make) -> None:
        sink = make(columns=self.columns(", must_resolve=True"), found={"name": {"a": "A"}})
        rows = [ROW | {"name": name} for name in ("a", None)]
        assert [sink.send(create(**row)).row["name"] for row in rows] == ["A", None]
        assert sink.send(create(**ROW | {"name": "c"})).waiting

    def test_failed_key_change_removes_nothing(self, make: Make) -> None:
        declared = "conflict=source_wins(), needs_before_image=True,"
        sink = make(declared=declared, columns=self.columns(", required=True"))
        error_of(sink.send(update(ROW, id="2")))

    @pytest.mark.parametrize("found", [{5: "A"}, {"5": "A"}])
    def test_number_is_looked_up_by_its_text(self, make: Make, found: dict) -> None:
        sink = make(columns=self.columns(), found={"name": found})
        assert sink.send(create(**ROW | {"name": 5})).row["name"] == "A"

    def test_failed_lookup_key_does_not_fail_others(self, make: Make) -> None:
        def resolve(_: str, values: set[Any]) -> dict[Any, Any]:
            if SECRET in values:
                raise EventError("refused")
            return {value: value.upper() for value in values}

        sink = make(columns=self.columns(), resolve=resolve)
        names = ["a", "b", SECRET, "c", SECRET]
        batch = sink.apply(*(create(**ROW | {"name": name}) for name in names))
        assert [change.values[1] for change in batch.changes] == ["A", "B", "C"]
        assert [dead_letter.message.offset for dead_letter in batch.dead_letters] == [2, 4]

    def test_unavailable_database_is_transient_error(self, make: Make) -> None:
        def resolve(_column: str, _values: set[Any]) -> dict[Any, Any]:
            raise RetriableError("not now")

        with pytest.raises(RetriableError):
            make(columns=self.columns(), resolve=resolve).send(create(**ROW))


class TestLookedUpKeys:
    """Lookups run before rows are identified, so that a key may be the result of a lookup."""

    DECLARED = "conflict=source_wins(), on_delete=Ignore(), on_remove=Ignore(),"
    COLUMNS = (
        'Column("id", all_of("id", "name"), lookup=Lookup("SELECT %s, %s", database="south")'
        '{more}), Column("city")'
    )
    FOUND: ClassVar = {"id": {("1", "Anna"): "A", ("2", "Anna"): "A", (None, "Maya"): "M"}}

    def sink(self, make: Make, more: str = "", declared: str = DECLARED) -> Harness:
        return make(declared=declared, columns=self.COLUMNS.format(more=more), found=self.FOUND)

    def test_key_is_result_of_lookup(self, make: Make) -> None:
        rows = ROW, ROW | {"id": "2"}, ROW | {"id": None, "name": "Maya"}
        changes = self.sink(make).changes(*(create(**row) for row in rows))
        assert [change.key for change in changes] == [("A",), ("A",), ("M",)]
        assert [change.values[0] for change in changes] == ["A", "A", "M"]

    @pytest.mark.parametrize(
        ("more", "kind"), [("", EventError), (", required=True", WaitingError)], ids=str
    )
    def test_row_without_looked_up_key_is_error(
        self, make: Make, more: str, kind: type[EventError]
    ) -> None:
        error = error_of(self.sink(make, more).send(create(**ROW | {"name": "Bela"})))
        assert type(error) is kind
        assert "column 'id' found nothing" in str(error)

    def test_key_change_to_equal_key_is_one_write(self, make: Make) -> None:
        sink = self.sink(make, declared=self.DECLARED + "needs_before_image=True,")
        moved = sink.apply(update(ROW, id="2"), delete(**ROW))
        assert [(type(change), change.key) for change in moved.changes] == [(Write, ("A",))]
        assert moved.counts == {"filtered": 1}, (
            "only the deletion is filtered; the update is a write"
        )

    def test_absent_value_does_not_change_key(self, make: Make) -> None:
        sink = self.sink(make, declared=self.DECLARED + "needs_before_image=True,")
        (change,) = sink.changes(create(id="1", name="Anna"))
        assert (change.key, change.values, change.partial) == (("A",), ("A", ABSENT), True)
