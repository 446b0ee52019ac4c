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
    def resolve(self, scratch: Any) -> Any:
        table = scratch.table("id int PRIMARY KEY, number int")
        declared = mapping(f"south.{scratch.schema}.t")
        query = f"SELECT id::text, number FROM {scratch.schema}.t WHERE id = ANY (%s::int[])"
        column = Column("c", lookup=Lookup(query, "south"))
        lookups = Lookups([column], {"south": scratch.dsn}, mapping=declared)
        session = scratch.session()

        def resolve(values: set[Any]) -> Any:
            return lookups.resolve("c", values, session)

        resolve.session, resolve.table = session, table
        yield resolve
        lookups.close()

    def test_uncommitted_row_is_found(self, resolve: Callable[..., Any]) -> None:
        with resolve.session.transaction():
            resolve.session.execute(f"INSERT INTO {resolve.table.sql_name} VALUES (1, 7)")
            assert resolve({"1"}) == {"1": 7}

    def test_rejected_value_does_not_abort_transaction(self, resolve: Callable[..., Any]) -> None:
        with resolve.session.transaction():
            resolve.session.execute(f"INSERT INTO {resolve.table.sql_name} VALUES (1, 7)")
            with pytest.raises(WriteError):
                resolve({"no number"})
            assert resolve({"1"}) == {"1": 7}
