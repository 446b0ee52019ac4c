"""The benchmark of batches."""

import pytest

from ...bench.batch import measure


@pytest.mark.postgres
def test_batch_command_is_measured() -> None:
    rates = measure(50)
    assert min(rates.first_run, rates.second_run, rates.copy) > 0
