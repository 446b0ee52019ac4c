"""``sink-runner api``: the HTTP service."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence

import click

from .. import log
from ..api.api_keys import check_secret
from ..api.routes import Routes, collect_routes
from ..config import Config, ConfigFile
from ..config.api import Api
from ..errors import ConfigError
from ..loading.discovery import Plugin
from ..schedule.child import Child
from .arguments import plugin_options
from .command import Command
from .configuration import find_config, loaded_plugins, read_config, read_plugins

_NEEDED = ("fastapi", "uvicorn", "joserfc", "psycopg_pool")


@click.command(cls=Command)
@plugin_options
def api() -> int:
    """Serve callbacks and masked reads over HTTP.

    Plugins with the hook sink_api declare what can be called. A callback becomes a change event in
    Kafka, in Debezium's form, and is applied like any other event; the answer of a query is masked
    for the caller's group. [api] in sink-runner.toml says who may call, and how often;
    `sink-runner config` explains it.

      /console       the state of each mapping, and what controls it, as a page
      /docs          what can be called, with examples
      /openapi.json  the same for programs
      /healthz       the process lives
      /readyz        what the service needs is reachable

    A callback never recreates a row whose deletion is still remembered (remember_deletes_days),
    because it has no position in the database's log.

    The service runs until SIGTERM or Ctrl-C; requests in flight are finished first.

    examples:
      pip install 'sink-runner[api]'
      sink-runner api-key new shop --scope orders:write
      sink-runner api
    """
    file = read_config()
    config = file.config()
    settings, plugins = api_settings(config), read_plugins(file)
    routes = routes_of(plugins.values(), settings)
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"{', '.join(missing)} not installed: pip install 'sink-runner[api]'")
    log.configure(config.log)
    # An extra that need not be installed.
    from ..api.serve import serve  # noqa: PLC0415
    from ..console.details import Details  # noqa: PLC0415
    from ..console.page import page  # noqa: PLC0415
    from ..console.reconciliation import Reconciler  # noqa: PLC0415
    from ..console.routes import routes as console_routes  # noqa: PLC0415
    from ..control.routes import routes as control_routes  # noqa: PLC0415

    children: list[Child] = []

    def start(words: Sequence[str]) -> None:
        """Start a command that goes on when the service stops."""
        children[:] = [one for one in children if one.poll() is None]
        children.append(Child(words, find_config()))

    details = Details(config, file.health(), plugins)
    path = find_config()  # threads of the service have no context of the command
    reconciler = Reconciler(lambda words: Child(words, path))
    routers = [
        page(),
        console_routes(details, reconciler),
        control_routes(config, plugins, start),
    ]
    return serve(config, routes, routers)


def api_settings(config: Config) -> Api:
    """Return [api]; raise ConfigError if it is missing or its secret cannot be used."""
    if config.api is None:
        raise ConfigError("[api] is missing in the configuration; see `sink-runner config`")
    check_secret(config.api.secret)
    return config.api


def declared_routes(file: ConfigFile, settings: Api) -> Routes:
    """Return the routes that the plugins declare."""
    return routes_of(read_plugins(file).values(), settings)


def routes_of(plugins: Iterable[Plugin], settings: Api) -> Routes:
    loaded = loaded_plugins(plugins)
    return collect_routes([one.http_api for one in loaded if one.http_api], settings)
