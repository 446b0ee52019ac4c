"""Lookups into the mapping's own target, inside the write transaction."""

from collections.abc import Callable
from typing import Any

import pytest

from sink_runner.errors import WriteError
from sink_runner.plugin import Column, Lookup
from sink_runner.transform.lookups import Lookups

from ...unit.transform.test_target_lookups import mapping


@pytest.mark.postgres
class TestInTheTransaction:
    @pytest.fixture
    def ask(self, scratch: Any) -> Any:
        table = scratch.table("id int PRIMARY KEY, number int")
        declared = mapping(f"south.{scratch.schema}.t")
        query = f"SELECT id::text, number FROM {scratch.schema}.t WHERE id = ANY (%s::int[])"
        column = Column("c", lookup=Lookup(query, "south"))
        lookups = Lookups([column], {"south": scratch.dsn}, mapping=declared)
        session = scratch.session()

        def ask(values: set[Any]) -> Any:
            return lookups.resolve("c", values, session)

        ask.session, ask.table = session, table
        yield ask
        lookups.close()

    def test_what_was_just_written_is_found(self, ask: Callable[..., Any]) -> None:
        with ask.session.transaction():
            ask.session.execute(f"INSERT INTO {ask.table.sql_name} VALUES (1, 7)")
            assert ask({"1"}) == {"1": 7}

    def test_value_that_is_refused_does_not_end_it(self, ask: Callable[..., Any]) -> None:
        with ask.session.transaction():
            ask.session.execute(f"INSERT INTO {ask.table.sql_name} VALUES (1, 7)")
            with pytest.raises(WriteError):
                ask({"no number"})
            assert ask({"1"}) == {"1": 7}
