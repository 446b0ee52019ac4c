"""The task of the DAGs, and what is called when a run takes too long."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
)
from sink_schedules import own_environment, runner
from sink_times import Times

_EX_CONFIG = 78


class BatchOperator(BaseOperator):
    """Run `sink-runner batch` in the environment that it is installed in."""

    ui_color = "#d9ead3"

    def __init__(self, *, arguments: Sequence[str], times: Times, **more: Any) -> None:
        super().__init__(**more)
        self.arguments = list(arguments)
        self.times = times
        self._hook = SubprocessHook()

    def execute(self, context: Any) -> None:  # noqa: ARG002 - Airflow calls it so
        """Wait for the end of maintenance; fail without a retry if only a person can help."""
        if over := self.times.maintenance_end(datetime.now(UTC)):
            raise AirflowRescheduleException(over)
        completed = self._hook.run_command([runner(), *self.arguments], env=own_environment())
        if completed.exit_code == _EX_CONFIG:
            raise AirflowFailException("sink-runner refuses its configuration: see the log")
        if completed.exit_code:
            raise AirflowException(f"sink-runner ended with {completed.exit_code}")

    def on_kill(self) -> None:
        """Stop the batch, which first finishes the rows that it is writing."""
        self._hook.send_sigterm()


async def warn_of_slow_run(
    *, mapping: str, mode: str, limit: str, minutes: float, **_: Any
) -> None:
    """Log a run that has not ended at its deadline."""
    logging.getLogger("sink_runner.batch").error(
        "batch_slow mapping=%s mode=%s longer_than=%s minutes=%s", mapping, mode, limit, minutes
    )
