"""The objects that the routes share: settings, limits and connections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from http import HTTPStatus
from typing import Any, Self

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from ..config import Config
from ..config.api import Api
from ..config.database import find_database
from ..config.dsn import Dsn
from ..errors import ConfigError, StalePoliciesError
from ..kafka.capture import read_capture
from ..kafka.connection import KafkaConnection
from ..masking.policy import Policies
from ..plugin import QueryRoute, ServiceRoute
from ..postgres.session import configure
from .api_keys import check_secret
from .callers import Callers
from .idempotency import IdempotencyStore
from .ingest import EventIngest
from .masked_query import MaskedQuery
from .problems import ProblemError, not_found
from .publisher import Publisher
from .rate_limits import RateLimit
from .responses import Requested
from .routes import Routes
from .service_client import ServiceClient
from .subjects import Subjects
from .tokens import Tokens

Pool = ConnectionPool[psycopg.Connection]
_CONTROL_SESSIONS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The shared objects, created once and used by all threads."""

    api: Api
    callers: Callers
    rates: RateLimit
    byte_rates: RateLimit
    routes: Routes
    ingest: EventIngest
    idempotency: IdempotencyStore
    queries: Mapping[str, MaskedQuery]
    """The queries by the names of their routes."""
    parts: Mapping[str, Callable[[], bool]]
    """The check of each dependency, by name: whether it answers now."""
    pools: tuple[Pool, ...]
    publisher: Publisher
    subjects: Subjects
    clients: Mapping[str, ServiceClient]
    """The services that routes pass requests to, by name."""

    @property
    def requests(self) -> list[ServiceRoute]:
        """The routes whose service is in the settings."""
        return [route for route in self.routes.requests if route.service in self.clients]

    def read(self, route: QueryRoute, parameters: Mapping[str, Any], group: str) -> Any:
        """Answer a query route for a group; ProblemError if there is no row."""
        rows = self.queries[route.name].rows(parameters, group)
        if not rows:
            raise not_found(route.not_found)
        return route.model.model_validate(route.answer(parameters, rows))

    def ask(self, route: ServiceRoute, parameters: Mapping[str, Any], group: str) -> Requested:
        """Pass a request to the service of a route, unless there is a result already."""
        known = route.unless
        if known is not None and self._has_row(known, parameters, group):
            return Requested(status="exists", path=f"/v1{known.path.format(**parameters)}")
        self.clients[route.service].send(route.body(parameters))
        return Requested(status="requested")

    def _has_row(self, route: QueryRoute, parameters: Mapping[str, Any], group: str) -> bool:
        try:
            self.read(route, parameters, group)
        except ProblemError as problem:
            if problem.status is HTTPStatus.NOT_FOUND:
                return False
            raise
        return True

    def open(self) -> None:
        for pool in self.pools:
            pool.open(wait=False)

    def close(self) -> None:
        """Wait for the records in flight, then close all connections."""
        self.publisher.close()
        for pool in self.pools:
            pool.close(timeout=1)
        self.subjects.close()
        for client in self.clients.values():
            client.close()


def assemble(config: Config, routes: Routes, policies: Callable[[], Policies]) -> Services:
    """Build the services without connecting, so that the API starts while a dependency is down.

    Raises ConfigError for wrong settings.
    """
    api = config.api
    if api is None:
        raise ConfigError("[api] is missing")
    database = find_database(config.databases, api.database, named_by="api.database")
    check_secret(api.secret)
    reading = _pool(database.reader_dsn, api.query_seconds, api.sessions)
    control = _pool(database.dsn, api.query_seconds, _CONTROL_SESSIONS)
    subjects = Subjects(config.registry, keep_seconds=api.schema_seconds)
    publisher = Publisher(
        KafkaConnection.of(config.kafka),
        delivery_seconds=api.delivery_seconds,
        max_record_bytes=api.max_record_bytes,
    )
    return Services(
        api=api,
        callers=Callers(api, Tokens(api.oauth) if api.oauth else None),
        rates=RateLimit(api.requests_per_second, api.burst),
        byte_rates=RateLimit(
            api.bytes_per_second,
            max(api.max_body_bytes, api.bytes_per_second * api.burst / api.requests_per_second),
            unit="bytes",
        ),
        routes=routes,
        ingest=EventIngest(
            api, subjects, publisher, placeholder_of=cache(partial(_read_placeholder, config))
        ),
        idempotency=IdempotencyStore(
            control,
            secret=api.secret,
            keep=timedelta(hours=api.remember_hours),
            delivery_seconds=api.delivery_seconds,
        ),
        queries={
            route.name: MaskedQuery(route.sql, api.database, policies, reading)
            for route in routes.queries
        },
        parts={
            "kafka": publisher.answers,
            "registry": subjects.answers,
            "database": lambda: _is_up(reading),
            "policies": lambda: _are_current(policies),
        },
        pools=(reading, control),
        publisher=publisher,
        subjects=subjects,
        clients={name: ServiceClient(name, settings) for name, settings in api.services.items()},
    )


def _read_placeholder(config: Config, database: str) -> str | None:
    directory = config.capture.directory
    capture = read_capture(directory, database) if directory is not None else None
    return None if capture is None else capture.stated


class _Session(psycopg.Connection[Any]):
    """Adds reason and remedy to a login error, because the pool logs only the error."""

    @classmethod
    def connect(cls, conninfo: str = "", *, dsn: Dsn, **options: Any) -> Self:  # type: ignore[override]
        try:
            return super().connect(conninfo, **options)
        except psycopg.OperationalError as fault:
            raise dsn.refusal(fault, conninfo) or fault from None


def _pool(dsn: Dsn, seconds: float, sessions: int) -> Pool:
    dsn.conninfo()  # raises ConfigError now; the pool would only log it
    return ConnectionPool(
        dsn.conninfo,
        min_size=1,
        max_size=sessions,
        max_waiting=2 * sessions,  # leaves threads for routes that need no database
        timeout=seconds,
        configure=partial(configure, limits={"statement_timeout": seconds}),
        check=ConnectionPool.check_connection,
        open=False,
        connection_class=_Session,
        kwargs={
            "dsn": dsn,
            "autocommit": True,
            "application_name": "sink-api",
            "connect_timeout": max(1, int(seconds)),
        },
    )


def _are_current(policies: Callable[[], Policies]) -> bool:
    try:
        policies()
    except StalePoliciesError:
        return False
    return True


def _is_up(pool: Pool) -> bool:
    try:
        with pool.connection() as connection:
            connection.execute("SELECT 1")
    except (psycopg.Error, PoolTimeout):
        return False
    return True
