"""The events of OpenLineage as JSON: facets and run events, with their published schemas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from importlib.metadata import version
from typing import Any, TypeAlias

VERSION = version("sink-runner")
_PRODUCER = f"urn:sink-runner:{VERSION}"
_SPEC = "https://openlineage.io/spec"
_SCHEMAS = {
    "columnLineage": "1-2-0/ColumnLineageDatasetFacet",
    "errorMessage": "1-0-1/ErrorMessageRunFacet",
    "jobType": "2-0-4/JobTypeJobFacet",
    "outputStatistics": "1-0-2/OutputStatisticsOutputDatasetFacet",
    "processing_engine": "1-1-1/ProcessingEngineRunFacet",
    "schema": "1-2-0/SchemaDatasetFacet",
}

Json: TypeAlias = dict[str, Any]


class Transition(StrEnum):
    """What happened to a run."""

    START = "START"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    FAIL = "FAIL"
    ABORT = "ABORT"


class JobKind(StrEnum):
    """What runs of a job do."""

    STREAMING = "streaming"
    BATCH = "batch"
    RECONCILIATION = "reconcile"


@dataclass(frozen=True, slots=True)
class Job:
    """What runs again and again for one mapping."""

    kind: JobKind
    mapping: str

    @property
    def name(self) -> str:
        is_streaming = self.kind is JobKind.STREAMING
        return self.mapping if is_streaming else f"{self.mapping}.{self.kind}"


@dataclass(frozen=True, slots=True)
class Datasets:
    """What a run reads and writes, as JSON."""

    inputs: Sequence[Json] = ()
    outputs: Sequence[Json] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One transition of a run."""

    job: Job
    run_id: str
    transition: Transition
    at: datetime
    rows: int | None = None
    """How many rows the run has written."""
    error: str = ""
    """Why the run failed; the text must be free of values."""


def facet(name: str, /, **content: Any) -> Json:
    """Return a facet under its name."""
    schema = f"{_SPEC}/facets/{_SCHEMAS[name]}.json"
    return {name: {"_producer": _PRODUCER, "_schemaURL": schema, **content}}


def run_event(report: Report, namespace: str, datasets: Datasets) -> Json:
    """Return the event of a transition."""
    processing = "STREAMING" if report.job.kind is JobKind.STREAMING else "BATCH"
    job = facet("jobType", processingType=processing, integration="SINK_RUNNER", jobType="JOB")
    run = facet("processing_engine", name="sink-runner", version=VERSION)
    if report.error:
        run |= facet("errorMessage", message=report.error, programmingLanguage="PYTHON")
    return {
        "eventType": str(report.transition),
        "eventTime": report.at.isoformat(),
        "producer": _PRODUCER,
        "schemaURL": f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": report.run_id, "facets": run},
        "job": {"namespace": namespace, "name": report.job.name, "facets": job},
        "inputs": list(datasets.inputs),
        "outputs": [_with_rows(dataset, report.rows) for dataset in datasets.outputs],
    }


def _with_rows(dataset: Mapping[str, Any], rows: int | None) -> Json:
    facets = {} if rows is None else facet("outputStatistics", rowCount=rows)
    return {**dataset, "outputFacets": facets}
