"""The settings of traces: ``[telemetry]``."""

from __future__ import annotations

from .reader import section
from .tls import url_faults


@section
class Telemetry:
    """Where OpenTelemetry traces are sent, by OTLP over HTTP; needs sink-runner[telemetry]."""

    endpoint: str = ""
    """Base URL of the receiver, such as a collector; spans are posted to its path /v1/traces. "":
    that of OTEL_EXPORTER_OTLP_ENDPOINT, or no traces. OpenTelemetry's other variables apply, such
    as OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER and OTEL_BSP_MAX_QUEUE_SIZE."""

    def __post_init__(self) -> None:
        login = "the variable OTEL_EXPORTER_OTLP_HEADERS"
        found = self.endpoint and [
            *url_faults("endpoint", self.endpoint, login=login, may_be_plaintext=True)
        ]
        if found:
            raise ValueError("; ".join(found))
