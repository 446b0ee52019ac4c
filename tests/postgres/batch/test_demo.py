"""Batch runs over the demo data, in both directions."""

import pytest
from sink_stack.demo.load import load
from sink_stack.demo.rows import Plan

from sink_runner.testing import NOW

pytestmark = pytest.mark.postgres

IN_PORTAL = {
    "schemes": "schemes",
    "profiles": "profile_summary",
    "benefit-forecasts": "benefit_forecasts",
    "decisions": "application_decisions",
    "alerts": "ml_alerts",
}
IN_WAREHOUSE = {
    "applications": "decision.application_events",
    "documents": "document_metadata",
    "user-behavior": "analytics.user_behavior",
    "feedback": "analytics.feedback_analytics",
}


def test_demo_data_has_no_failed_row(pair) -> None:
    """Only rows of a person unknown to the other side may be deferred."""
    dsns = {name: pair.postgres.dsn(actual) for name, actual in pair.names.items()}
    plan = Plan(families=150, seed=1, as_of=NOW)
    load(dsns, plan, if_empty=False, advance=lambda _families: None)
    for target, tables in ((pair.citizen, IN_PORTAL), (pair.warehouse, IN_WAREHOUSE)):
        for name, table in tables.items():
            report = pair.run(name, full=True, batch={"max_rows": 500})
            assert report.counts["failed"] == 0, name
            assert report.adds_up, name
            query = f"SELECT count(*) FROM {table}"
            assert target.execute(query.encode()).fetchone()[0] > 10, name
