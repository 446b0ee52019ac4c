"""Send traces while a runner runs; without an endpoint, OpenTelemetry is not imported."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..config.telemetry import Telemetry
from ..errors import ConfigError

if TYPE_CHECKING:
    from .trace_export import Traces


@contextmanager
def sending_traces(settings: Telemetry) -> Iterator[Traces | None]:
    """Yield what makes and sends the spans; None if no endpoint is set.

    Raises ConfigError if the extra is not installed.
    """
    endpoint = settings.endpoint or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    if not endpoint:
        yield None
        return
    try:
        # The packages are optional: they may not be installed.
        from .trace_export import Traces  # noqa: PLC0415
    except ImportError as fault:
        raise ConfigError(
            "an endpoint for traces is set: pip install 'sink-runner[telemetry]', or unset "
            "telemetry.endpoint and OTEL_EXPORTER_OTLP_ENDPOINT"
        ) from fault
    traces = Traces(endpoint)
    try:
        yield traces
    finally:
        traces.close()
