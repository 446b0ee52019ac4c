"""Prometheus and Alertmanager for tests: the pinned packages, fetched once."""

import os

import pytest

from sink_stack import envfile, layout, monitoring
from sink_stack.progress import Reporter


def pytest_collection_modifyitems(items):
    for item in items:
        if "programs" in getattr(item, "fixturenames", ()):
            item.add_marker("prometheus")


@pytest.fixture(scope="session")
def programs():
    found = layout.find(os.environ)
    (found.logs).mkdir(parents=True, exist_ok=True)
    versions = envfile.load(found.root / "compose" / "versions.env")
    return monitoring.install(found, versions, Reporter())
