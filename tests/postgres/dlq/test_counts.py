"""Quality counts include a deferred event once, when it is replayed or expires."""

from datetime import timedelta
from typing import Any

import pytest

from sink_runner.testing import create

pytestmark = pytest.mark.postgres


def counts(shop: Any) -> dict[tuple[str, str], int]:
    found = shop.target.admin.execute("SELECT * FROM sink.quality_count").fetchall()
    return {(row["rule"], row["column_name"]): row["rows"] for row in found}


@pytest.fixture
def deferred(shop: Any) -> Any:
    """Two deferred events with a default, whose retries have failed."""
    shop.send(create(id=1, note=None, customer="Anna"), create(id=2, note=None, customer="Maya"))
    for _ in range(3):
        shop.retry()
    assert shop.statuses() == ["PARKED", "PARKED"]
    return shop


def test_deferred_event_is_not_counted(deferred: Any) -> None:
    assert counts(deferred) == {}


def test_default_counts_when_its_row_is_written(deferred: Any) -> None:
    deferred.customer("Anna")
    deferred.retry()
    assert counts(deferred) == {("default", "first"): 1}


def test_expired_event_breaks_rule_found(deferred: Any) -> None:
    deferred.customer("Anna")
    deferred.target.now += timedelta(hours=25)
    deferred.retry()
    assert counts(deferred) == {("default", "first"): 1, ("found", "customer"): 1}
