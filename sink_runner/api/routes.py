"""Collect the routes of the plugins that are on, and check ``[api]`` against them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..config.api import Api
from ..config.reader import hint
from ..errors import ConfigError
from ..plugin import EventRoute, HttpApi, QueryRoute, ServiceRoute

OBSERVE, OPERATE = "observe", "operate"
"""The scopes of the routes that show and control the mappings, which no plugin declares."""
_DESCRIPTION = """\
Every call needs an API key or a bearer token, and a scope; every answer of a query is masked for
the caller's group. Errors are problem details (RFC 9457)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """The routes under /v1/."""

    events: Sequence[EventRoute] = ()
    queries: Sequence[QueryRoute] = ()
    requests: Sequence[ServiceRoute] = ()
    """Those that are declared; a route is served if the settings have its service."""
    description: str = _DESCRIPTION

    @property
    def scopes(self) -> list[str]:
        routes: list[EventRoute | QueryRoute | ServiceRoute]
        routes = [*self.events, *self.queries, *self.requests]
        return sorted({OBSERVE, OPERATE, *(route.scope for route in routes)})


def collect_routes(apis: Iterable[HttpApi], settings: Api) -> Routes:
    """Return the routes, with the tables of `[api.tables]`.

    Raises ConfigError for a route or scope in the settings that is unknown but resembles a known
    one.  Other unknown names may belong to a plugin that is off.
    """
    apis = list(apis)
    routes = [route for api in apis for route in api.routes]
    events = [route for route in routes if isinstance(route, EventRoute)]
    requests = [route for route in routes if isinstance(route, ServiceRoute)]
    descriptions = [api.description for api in apis if api.description]
    found = Routes(
        events=[_with_table(route, settings.tables.get(route.name)) for route in events],
        queries=[route for route in routes if isinstance(route, QueryRoute)],
        requests=requests,
        description="\n\n".join(descriptions) or _DESCRIPTION,
    )
    for name in settings.tables:
        _check_known(f"api.tables.{name}", name, [route.name for route in events])
    for name in settings.services:
        _check_known(f"api.services.{name}", name, [route.service for route in requests])
    for name, client in settings.clients.items():
        for number, scope in enumerate(client.scopes):
            _check_known(f"api.clients.{name}.scopes[{number}]", scope, found.scopes)
    return found


def _with_table(route: EventRoute, table: str | None) -> EventRoute:
    try:
        return route if table is None else replace(route, table=table)
    except ValueError as fault:
        raise ConfigError(f"api.tables.{route.name}: {fault}") from None


def _check_known(key: str, name: str, known: Sequence[str]) -> None:
    if name not in known and (close := hint(name, known)):
        raise ConfigError(f"{key} is unknown{close}")
