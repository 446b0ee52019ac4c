"""The harness of the dead-letter tests, whose tables `purge` and `erase` change."""

from ..inspection.conftest import declare, harness  # noqa: F401
