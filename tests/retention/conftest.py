"""The office of the dead letters, whose tables are purged and searched."""

from ..dead_letters.conftest import office  # noqa: F401
