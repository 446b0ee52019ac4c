"""``sink-runner api``: the HTTP service."""

from __future__ import annotations

import importlib.util

import click

from .. import log
from ..api.api_keys import check_secret
from ..api.routes import Routes, collect_routes
from ..config import Config, ConfigFile
from ..config.api import Api
from ..errors import ConfigError
from .arguments import plugin_options
from .command import Command
from .configuration import loaded_plugins, read_config, read_plugins

_NEEDED = ("fastapi", "uvicorn", "joserfc", "psycopg_pool")


@click.command(cls=Command)
@plugin_options
def api() -> int:
    """Serve callbacks and masked reads over HTTP.

    Plugins with the hook sink_api declare what can be called. A callback becomes a change event in
    Kafka, in Debezium's form, and is applied like any other event; the answer of a query is masked
    for the caller's group. [api] in sink-runner.toml says who may call, and how often;
    `sink-runner config` explains it.

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
    routes = declared_routes(file, api_settings(config))
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"{', '.join(missing)} not installed: pip install 'sink-runner[api]'")
    log.configure(config.log)
    from ..api.serve import serve  # noqa: PLC0415 - an extra that need not be installed

    return serve(config, routes)


def api_settings(config: Config) -> Api:
    """Return [api]; raise ConfigError if it is missing or its secret cannot be used."""
    if config.api is None:
        raise ConfigError("[api] is missing in the configuration; see `sink-runner config`")
    check_secret(config.api.secret)
    return config.api


def declared_routes(file: ConfigFile, settings: Api) -> Routes:
    """Return the routes that the plugins declare."""
    plugins = loaded_plugins(read_plugins(file).values())
    return collect_routes([one.http_api for one in plugins if one.http_api], settings)
