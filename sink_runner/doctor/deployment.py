"""What is checked: the configuration, and the mappings of the plugins that are on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..config import Config
from ..config.dsn import Dsn
from ..kafka.connection import KafkaConnection
from ..loading import discovery
from ..masking.policy import Policies, load_policies
from ..plugin import TableMapping
from .check_group import Sessions

SECONDS = 20.0
"""The time limit of a check."""
_STATEMENT_SHARE = 0.75
"""A statement ends before its check does, so that the rest of the group is still checked."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A deployment; `mappings` are those to check, of `plugins`, which run together."""

    config: Config
    plugins: Mapping[str, discovery.Plugin]
    mappings: Mapping[str, TableMapping]
    seconds: float = SECONDS
    _failed: dict[Dsn, Exception] = field(default_factory=dict)

    @property
    def streaming(self) -> Mapping[str, TableMapping]:
        """The mappings to check that read events."""
        return {name: one for name, one in self.mappings.items() if one.streaming}

    @property
    def running(self) -> Mapping[str, TableMapping]:
        """All mappings that a runner starts together."""
        return discovery.streaming(self.plugins.values())

    @property
    def kafka(self) -> KafkaConnection:
        return KafkaConnection.of(self.config.kafka)

    def databases(self) -> list[str]:
        """Return the databases of the mappings to check."""
        tables = [(one.source_table, one.target_table) for one in self.mappings.values()]
        return sorted({table.database for pair in tables for table in pair})

    def policies(self) -> Policies:
        """Load the masking policies.  Raises PolicyError."""
        return load_policies(self.config.policies.directory, self.config.policies.key)

    def sessions(self) -> Sessions:
        """Return the sessions of one group; what one can't reach, another does not try again."""
        return Sessions(_STATEMENT_SHARE * self.seconds, self._failed)
