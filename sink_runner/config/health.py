"""The settings of ``[health]``."""

from __future__ import annotations

from dataclasses import dataclass, field

from .values import doc


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSettings:
    """Where `sink-runner run` answers /healthz, /readyz and /metrics."""

    host: str = field(
        default="127.0.0.1", metadata=doc("Address to answer on; nobody is asked who he is.")
    )
    port: int = field(default=0, metadata=doc("0: nothing is answered.", minimum=0))
