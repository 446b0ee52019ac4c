"""An event that waits counts for the report once it is settled, and once."""

from datetime import timedelta
from typing import Any

import pytest

from sink_runner.testing import create

pytestmark = pytest.mark.postgres


def counts(shop: Any) -> dict[tuple[str, str], int]:
    found = shop.target.admin.execute("SELECT * FROM sink.quality_count").fetchall()
    return {(row["rule"], row["column_name"]): row["rows"] for row in found}


@pytest.fixture
def waiting(shop: Any) -> Any:
    """Two events that were given a default, wait and were tried again in vain."""
    shop.send(create(id=1, note=None, customer="Anna"), create(id=2, note=None, customer="Maya"))
    for _ in range(3):
        shop.retry()
    assert shop.statuses() == ["PARKED", "PARKED"]
    return shop


def test_what_only_waits_counts_nothing(waiting: Any) -> None:
    assert counts(waiting) == {}


def test_a_default_counts_when_its_row_is_written(waiting: Any) -> None:
    waiting.customer("Anna")
    waiting.retry()
    assert counts(waiting) == {("default", "first"): 1}


def test_what_never_came_breaks_the_rule_found(waiting: Any) -> None:
    waiting.customer("Anna")
    waiting.target.now += timedelta(hours=25)
    waiting.retry()
    assert counts(waiting) == {("default", "first"): 1, ("found", "customer"): 1}
