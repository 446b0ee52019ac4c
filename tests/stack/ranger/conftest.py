"""Ranger's engine, installed once for all tests."""

import pytest

from .engine import Ranger, install


@pytest.fixture(scope="session")
def ranger() -> Ranger:
    return install()
