"""The office of the dead letters, whose tables are purged and searched."""

from ..inspection.conftest import office  # noqa: F401
