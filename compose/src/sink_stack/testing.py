"""The pytest plugin of the stack: the fixture `stack`, and what it needs of pytest.

It is loaded with every pytest of this environment, so it imports nothing heavy before a session is
configured.
"""

import warnings

import pytest

_KAFKA = "(read|open)_text is deprecated"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record", action="store_true", help="keep Debezium's messages under tests/fixtures"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Load the fixtures; kafka-python reads its protocol files with a deprecated function."""
    config.addinivalue_line("filterwarnings", f"ignore:{_KAFKA}:DeprecationWarning")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_KAFKA, category=DeprecationWarning)
        config.pluginmanager.import_plugin("sink_stack.testing_stack")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a test by the fixtures that it has, directly or through another one."""
    for fixture, marker in (("postgres", "postgres"), ("monitoring_programs", "prometheus")):
        if fixture in getattr(item, "fixturenames", ()):
            item.add_marker(marker)
