"""Health of the API beside its database."""

import pytest


@pytest.mark.postgres
def test_a_service_is_ready_once_everything_answers(serve, postgres):
    ready = serve(reader_dsn=postgres.dsn("smart_warehouse", "sink_reader"))
    answer = ready.client.get("/readyz")
    assert (answer.status_code, set(answer.json().values())) == (200, {"ok"})
