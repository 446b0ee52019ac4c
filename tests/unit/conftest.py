"""A test in this folder needs nothing but Python."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
SERVERS = ("postgres", "stack", "airflow", "ranger", "prometheus")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            needed = [name for name in SERVERS if item.get_closest_marker(name)]
            if needed:
                raise pytest.UsageError(
                    f"{item.nodeid} needs {needed[0]}: move it to tests/postgres or tests/stack"
                )
