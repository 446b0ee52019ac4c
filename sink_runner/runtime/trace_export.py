"""Send spans to an OTLP receiver in a thread, so that a slow or absent one delays nothing else."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Sequence
from importlib.metadata import version

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from ..plugin import TableMapping
from .traces import MappingTraces

_SECONDS = 5.0
"""For one request, and for what is left at the end."""
_PATH = "/v1/traces"


class _Exporter(SpanExporter):
    """Exports to a receiver; logs an outage once, and never raises."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._is_away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception:  # noqa: BLE001 - a trace never harms what it describes
            result = SpanExportResult.FAILURE
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self._is_away:
            structlog.get_logger().warning("traces_not_sent", spans=len(spans))
        self._is_away = failed
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class Traces:
    """Sends spans in a thread, and drops the oldest ones of a full queue."""

    def __init__(self, endpoint: str) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it logs each failure
        url = endpoint.rstrip("/") + _PATH
        self._processor = BatchSpanProcessor(_Exporter(OTLPSpanExporter(url, timeout=_SECONDS)))
        resource = Resource.create(
            {
                "service.name": os.environ.get("OTEL_SERVICE_NAME", "sink-runner"),
                "service.version": version("sink-runner"),
                "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
            }
        )
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("sink_runner", version("sink-runner"))

    def of_mapping(self, name: str, mapping: TableMapping) -> MappingTraces:
        return MappingTraces(self._tracer, name, mapping)

    def close(self) -> None:
        """Send what is queued, for a few seconds at most."""
        thread = threading.Thread(target=self._processor.shutdown, daemon=True)
        thread.start()
        thread.join(_SECONDS)
