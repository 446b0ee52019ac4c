"""The engine, once for all tests."""

import pytest

from .engine import Ranger, installed


@pytest.fixture(scope="session")
def ranger() -> Ranger:
    return installed()
