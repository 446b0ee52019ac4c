"""Airflow beside the real stack: one of the two schedulers runs, never both."""

from dataclasses import replace

import pytest

from sink_stack import airflow
from sink_stack.errors import StackError
from sink_stack.stack import Stack, sink_runner

pytestmark = pytest.mark.airflow


def test_airflow_needs_the_stack(home):
    with pytest.raises(StackError, match="make up"):
        Stack(home.layout, {}).up_airflow(home.environment)


@pytest.mark.stack
def test_airflow_takes_over_from_the_schedule_and_stays(stack, environment):
    options = replace(stack.options, schedule=sink_runner("schedule"))
    supervisor = stack.stack.supervisor
    try:
        stack.stack.up(options)
        assert supervisor.running("schedule")
        made = stack.stack.up_airflow(environment)
        assert made.healthy()
        assert not supervisor.running("schedule")
        stack.stack.up(options)
        assert not supervisor.running("schedule")
        supervisor.stop(*airflow.PARTS)
        stack.stack.up(options)
        assert supervisor.running("schedule")
    finally:
        supervisor.stop(*airflow.PARTS, "schedule")
