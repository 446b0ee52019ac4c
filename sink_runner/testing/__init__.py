"""Everything a plugin's author needs to test a plugin: no Kafka, no database."""

from __future__ import annotations

from .contract import MappingContract
from .events import NOW, Sample, create, delete, snapshot, truncate, update
from .harness import Harness, Outcome
from .target import TargetHarness

__all__ = [
    "NOW",
    "Harness",
    "MappingContract",
    "Outcome",
    "Sample",
    "TargetHarness",
    "create",
    "delete",
    "snapshot",
    "truncate",
    "update",
]
