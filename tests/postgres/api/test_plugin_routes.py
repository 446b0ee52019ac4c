"""The example plugin of sink_runner/api/README.md publishes an event and answers a query."""

import re
import uuid

import psycopg
import pytest

from sink_runner.loading import discovery

from ...support.api_service import ROOT
from ...unit.api.test_callbacks import problem, read_records

pytestmark = pytest.mark.postgres
ORDER = {
    "order_id": "0b7c9d54-4a58-4d0e-8a39-8f3f1f0d2c55",
    "product": "a lamp",
    "placed_at": "2026-01-31T10:00:00+05:30",
}


@pytest.fixture
def shop(site):
    text = (ROOT / "sink_runner/api/README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    site.plugin("shop", code)
    plugin = discovery.installed()["shop"]
    discovery.load(plugin)
    assert plugin.errors == []
    return plugin.http_api


def test_event_is_published_once_for_a_key(serve, shop, postgres):
    database = postgres.fresh_database("smart_warehouse")
    service = serve(apis=[shop], dsn=postgres.dsn(database, "sink_writer"))
    answers = [service.post("/v1/orders", ORDER, Idempotency_Key="k") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    ((topic, key, value),) = read_records(service)
    assert (topic, key) == ("shop.public.orders", {"order_id": ORDER["order_id"]})
    assert value["after"] == {
        **ORDER,
        "state": None,
        "placed_at": "2026-01-31T04:30:00Z",
    }


def test_query_is_answered(serve, shop, postgres):
    database = postgres.fresh_database("smart_warehouse")
    with psycopg.connect(postgres.dsn(database), autocommit=True) as admin:
        admin.execute("CREATE TABLE orders (order_id uuid, product text, state text)")
        admin.execute("GRANT SELECT ON orders TO sink_reader")
        admin.execute("INSERT INTO orders VALUES (%s, 'a lamp', 'sent')", (ORDER["order_id"],))
    service = serve(apis=[shop], reader_dsn=postgres.dsn(database, "sink_reader"))
    answer = service.get(f"/v1/orders/{ORDER['order_id'].upper()}")
    assert answer.json() == {"product": "a lamp", "state": "sent"}
    problem(service.get(f"/v1/orders/{uuid.uuid4()}"), 404, "not-found")
    problem(service.get("/v1/orders/1"), 422, "invalid")
