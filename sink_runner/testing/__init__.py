"""Everything a plugin's author needs to test a plugin: no Kafka, no database."""

from __future__ import annotations

from .contract import MappingContract
from .events import create, delete, snapshot, update
from .harness import Harness, Outcome

__all__ = ["Harness", "MappingContract", "Outcome", "create", "delete", "snapshot", "update"]
