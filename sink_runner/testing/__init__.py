"""Test a plugin: sample events, harnesses without Kafka, and the contract of every mapping."""

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
