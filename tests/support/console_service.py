"""The console's page with recorded answers of the routes that it reads."""

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel
from starlette.responses import JSONResponse

from sink_runner.api.problems import add_handlers, not_found, unauthorized
from sink_runner.config.api import Api
from sink_runner.console.models import (
    Chain,
    Columns,
    Conflicts,
    DeadLetterCounts,
    EventChoice,
    Explanation,
    Reconciliation,
)
from sink_runner.console.page import page

from .api_live import serve_on_port

KEY = "sink_recorded"
_TO_CITIZEN = {
    "golden-records": "public.citizens",
    "schemes": "public.schemes",
    "benefit-forecasts": "public.benefit_forecasts",
    "eligibility-snapshots": "public.eligibility_hints",
    "alerts": "public.alerts",
    "decisions": "public.application_status",
}
_TO_WAREHOUSE = {
    "applications": "public.applications",
    "citizens": "public.citizen_updates",
    "documents": "public.documents",
    "feedback": "public.feedback",
    "profiles": "public.profiles",
    "user-behavior": "public.user_behavior",
}


_RATES = {
    "golden-records": 140,
    "eligibility-snapshots": 62,
    "benefit-forecasts": 18,
    "applications": 9,
    "citizens": 31,
    "decisions": 4,
    "alerts": 2,
}
"""Events per second."""


def _ago(**past: float) -> str:
    return (datetime.now(UTC) - timedelta(**past)).isoformat(timespec="milliseconds")


class RecordedService:
    """Twelve mappings, of which one is paused, one waits and one is quarantined."""

    def __init__(self) -> None:
        self.reports = {one["mapping"]: one for one in _reports()}
        self.posts: list[tuple[str, dict[str, Any]]] = []

    def app(self) -> FastAPI:
        app = FastAPI(openapi_url=None)
        add_handlers(app)
        app.include_router(page())
        self._add_reads(app)
        self._add_actions(app)

        @app.middleware("http")
        async def authenticate(request: Request, call_next: Any) -> Response:
            if request.url.path.startswith("/v1/") and request.headers.get("x-api-key") != KEY:
                return unauthorized("the API key is not known").response()
            answer: Response = await call_next(request)
            return answer

        return app

    def _add_reads(self, app: FastAPI) -> None:
        @app.get("/openapi.json")
        def openapi() -> Response:
            actions = ("pause", "resume", "replay", "resync", "reconcile")
            return JSONResponse({"paths": {f"/v1/mappings/{{name}}/{one}": {} for one in actions}})

        @app.get("/v1/mappings")
        def mappings() -> Response:
            return JSONResponse([*self.reports.values()])

        @app.get("/v1/progress")
        def progress() -> Response:
            flows = {
                name: {
                    "applied": int(time.time() * _RATES.get(name, 0)),
                    "deferred": 2 if name == "decisions" else 0,
                }
                for name in self.reports
            }
            return JSONResponse({"at": _ago(), "mappings": flows})

        @app.get("/v1/mappings/{name}/{part}")
        def part_of(name: str, part: str) -> Response:
            if name not in self.reports or part not in _PARTS:
                raise not_found(f"there is no {part} of {name}")
            return JSONResponse(_MODELS[part].model_validate(_PARTS[part]).model_dump(mode="json"))

    def _add_actions(self, app: FastAPI) -> None:
        @app.post("/v1/mappings/{name}/explain")
        async def explain(name: str, choice: EventChoice) -> Explanation:
            self.posts.append((f"{name}/explain", choice.model_dump(exclude_none=True)))
            return Explanation(**_EXPLAINED)

        @app.post("/v1/mappings/{name}/{action}")
        async def act(name: str, action: str, request: Request) -> Response:
            body = await request.json()
            self.posts.append((f"{name}/{action}", body))
            if not body["dry_run"]:
                self._apply(name, action, body)
            command = f"sink-runner {action} {name}"
            if "reason" in body:
                command += f" --reason {shlex.quote(body['reason'])}"
            result = None if body["dry_run"] else f"{action}d"
            plan = [f"{action} {name}", "reversible"]
            return JSONResponse({"plan": plan, "command": command, "result": result})

    def _apply(self, name: str, action: str, body: dict[str, Any]) -> None:
        report = self.reports[name]
        if action == "pause":
            reason = f"local paused it at 2026-11-30 10:04:11 UTC: {body['reason']}"
            report |= {"state": "paused", "reason": reason, "way_out": f"sink-runner resume {name}"}
        elif action == "resume":
            report |= {"state": "running", "reason": "", "way_out": ""}


@contextmanager
def recorded_console() -> Iterator[tuple[str, RecordedService]]:
    """Yield the URL of the page and the service behind it."""
    service = RecordedService()
    settings = Api(database="unused")
    with serve_on_port(service.app(), settings) as url:
        yield f"{url}/console", service


def _reports() -> Iterator[dict[str, Any]]:
    for name, table in _TO_CITIZEN.items():
        source = f"smart_warehouse.public.{name.replace('-', '_')}"
        yield _report(name, source, f"smart_citizen.{table}", **_STATES.get(name, {}))
    for name, table in _TO_WAREHOUSE.items():
        source = f"smart_citizen.public.{name.replace('-', '_')}"
        yield _report(name, source, f"smart_warehouse.{table}", **_STATES.get(name, {}))


def _report(name: str, source: str, target: str, **changes: Any) -> dict[str, Any]:
    return {
        "mapping": name,
        "source": source,
        "target": target,
        "state": "running",
        "reason": "",
        "way_out": "",
        "next_try": None,
        "lag_events": 0,
        "lag_seconds": 0.0,
        "last_event_at": _ago(seconds=4),
        "applied_commit_at": _ago(seconds=4),
        "open_dead_letters": 0,
        "verified_through": _ago(hours=5),
        "runners": ["runner-1"],
        "versions": {"sink-runner": "1.0", f"sink-{name}": "1.0"},
    } | changes


def _step(does: str, hook: str = "", *plugins: str) -> dict[str, Any]:
    found = [{"name": name, "version": "1.0"} for name in plugins]
    return {"does": does, "hook": hook, "plugins": found}


def _column(source: str, target: str, tag: str = "", mask: str = "", *steps: str) -> dict[str, Any]:
    tags = [tag] if tag else []
    found = {"column": source, "tags": tags, "mask": mask, "is_value": True}
    return {"target": target, "inputs": [found], "steps": steps}


_STATES: dict[str, dict[str, Any]] = {
    "golden-records": {"lag_seconds": 3.2, "lag_events": 41},
    "decisions": {"open_dead_letters": 4, "lag_seconds": 75.0, "lag_events": 2},
    "profiles": {
        "state": "paused",
        "reason": "asha paused it at 2026-11-30 10:04:11 UTC: portal upgrade",
        "way_out": "sink-runner resume profiles",
        "lag_seconds": 840.0,
        "lag_events": 311,
    },
    "documents": {
        "state": "waiting",
        "reason": "database 'smart_warehouse' does not answer",
        "way_out": "restore what does not answer; the mapping goes on automatically",
        "next_try": _ago(seconds=-9),
        "lag_seconds": 12.0,
        "lag_events": 5,
    },
    "feedback": {
        "state": "quarantined",
        "reason": "column 'rating' of smart_warehouse.public.feedback does not exist",
        "way_out": "correct what the reason names; needs no restart",
        "lag_seconds": None,
        "lag_events": None,
        "verified_through": None,
    },
    "user-behavior": {"state": "scheduled", "lag_seconds": None, "lag_events": None},
}
_EXPLAINED: dict[str, Any] = {
    "sentence": "The target holds something newer: the row was written at 10:02.",
    "good": True,
    "passages": [
        {
            "id": "smart_warehouse.decision.applications:0:17",
            "steps": [
                {"name": "decode", "state": "ok", "detail": "operation 'u'"},
                {"name": "write", "state": "stopped", "detail": "updated_at is older"},
            ],
            "rows": [{"does": "write", "row": {"gr_id": 7, "name": "***MASKED***"}}],
        }
    ],
    "facts": ["conflicts: none"],
    "target": {"gr_id": 7, "name": "***MASKED***"},
}
_MODELS: dict[str, type[BaseModel]] = {
    "chain": Chain,
    "columns": Columns,
    "dead-letters": DeadLetterCounts,
    "conflicts": Conflicts,
    "reconciliation": Reconciliation,
}
_PARTS = {
    "chain": {
        "steps": [
            _step("drop echoes of the runner's own writes"),
            _step("", "sink_filter", "golden-records"),
            _step("check the row: updated_at not before created_at"),
            _step("read 12 declared columns: source, convert, default"),
            _step("", "sink_map"),
            _step("mask by policy, cut to max_length"),
            _step("", "sink_mask"),
            _step("write, newest wins by source_updated_at"),
        ],
        "timings": {
            "fetch": 0.0774,
            "decode": 0.0021,
            "transform": 0.0114,
            "write": 0.0435,
            "commit": 0.0192,
        },
    },
    "columns": {
        "columns": [
            _column("gr_id", "gr_id"),
            _column("jan_aadhaar", "jan_aadhaar", "PII_AADHAAR", "MASK_SHOW_LAST_4"),
            _column("full_name", "name", "PII_NAME", "", "convert"),
        ]
    },
    "dead-letters": {
        "counts": [
            {
                "error_class": "WriteError",
                "sqlstate": "23514",
                "status": "OPEN",
                "number": 4,
                "first": _ago(days=2),
                "last": _ago(hours=3),
            }
        ]
    },
    "conflicts": {"conflicts": []},
    "reconciliation": {
        "runs": [
            {
                "mode": "full",
                "started": _ago(hours=5),
                "finished": _ago(hours=5),
                "outcome": "equal",
                "counts": {"read": 100_000},
                "columns_differing": {},
            }
        ]
    },
}
