"""The benchmark of batches."""

import pytest

from ...bench.batch import measure


@pytest.mark.postgres
def test_a_batch_is_measured_with_the_command_itself() -> None:
    found = measure(50)
    assert min(found.first, found.again, found.copy) > 0
