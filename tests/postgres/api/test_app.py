"""Readiness of the API with its database."""

import pytest


@pytest.mark.postgres
def test_service_is_ready_when_all_parts_answer(serve, postgres):
    ready = serve(reader_dsn=postgres.dsn("smart_warehouse", "sink_reader"))
    answer = ready.client.get("/readyz")
    assert (answer.status_code, set(answer.json().values())) == (200, {"ok"})
