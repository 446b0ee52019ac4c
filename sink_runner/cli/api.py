"""``sink-runner api`` and ``sink-runner api-key``: the HTTP service, and keys for its callers."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from functools import partial

from .. import log
from ..api.keys import check_secret, hash_key, new_key
from ..api.routes import Routes, collect_routes
from ..config import Config, ConfigFile
from ..config.api import Api
from ..errors import ConfigError
from .command import (
    OK,
    Subparsers,
    add_choice_options,
    add_command,
    add_config_option,
    loaded_plugins,
    read_config,
    read_plugins,
)

TEACHING = """\
Plugins with the hook sink_api declare what can be called.  A callback becomes a change event in
Kafka, in Debezium's form, and goes the way of any other; the answer of a query is masked for the
caller's group.  [api] in sink-runner.toml says who may call, and how often; `sink-runner config`
explains it.

  /docs      what can be called, with examples         /openapi.json   the same for programs
  /healthz   the process lives                         /readyz         so does what it needs

A callback has no place in the database's log: it never brings back a row whose deletion there is
still remembered (remember_deletes_days).

Runs until SIGTERM or Ctrl-C; requests in flight are finished first.

examples:
  pip install 'sink-runner[api]'
  sink-runner api-key new shop --scope orders:write
  sink-runner api
"""
KEY_TEACHING = """\
The key is shown once, on standard error; standard output has the lines for sink-runner.toml, and a
redirect stores no secret.  What is stored is its keyed hash, which [api] secret makes useless to
whoever reads the configuration.  To take a key back, remove its table and restart the service.

examples:
  sink-runner api-key new shop --scope orders:write
  sink-runner api-key new portal --scope orders:read --group analysts >> sink-runner.toml
"""
_NEEDED = ("fastapi", "uvicorn", "joserfc", "psycopg_pool")


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers, "api", summary="serve callbacks and masked reads over HTTP", teaching=TEACHING
    )
    add_choice_options(parser)
    parser.set_defaults(run=api)
    keys = add_command(
        subparsers, "api-key", summary="make keys for the callers of the API", teaching=KEY_TEACHING
    )
    new = keys.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "new", help="print a new key and the lines that let it in", description="Make a key."
    )
    add_config_option(new)
    new.add_argument("name", metavar="NAME", help="what the caller is called, here and in logs")
    new.add_argument(
        "--scope",
        action="append",
        required=True,
        help="what it may do, as a route declares it; may be repeated",
    )
    new.add_argument("--group", default="", help="group of the masking policies, for reads")
    new.set_defaults(run=partial(new_api_key, new), only=[], without=[])


def api(args: argparse.Namespace) -> int:
    file = read_config(args)
    config = file.config()
    routes = _routes(args, file, _section(config))
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"{', '.join(missing)} not installed: pip install 'sink-runner[api]'")
    log.configure(config.log)
    # The framework is not loaded, and need not be there, for the commands that serve nothing.
    from ..api.serve import serve  # noqa: PLC0415

    return serve(config, routes)


def new_api_key(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    file = read_config(args)
    settings = _section(file.config())
    scopes = _routes(args, file, settings).scopes
    if unknown := [scope for scope in args.scope if scope not in scopes]:
        parser.error(f"unknown scope {unknown[0]!r}; known: {', '.join(scopes) or 'none'}")
    key = new_key()
    # Not on standard output, which a redirect appends to the configuration.
    print(f"The key, shown this once; the caller sends it as X-API-Key:\n{key}", file=sys.stderr)
    print(f"[api.clients.{json.dumps(args.name)}]")
    print(f"key_hash = {json.dumps(hash_key(settings.secret, key))}")
    print(f"scopes = {json.dumps(args.scope)}")
    if args.group:
        print(f"group = {json.dumps(args.group)}")
    return OK


def _section(config: Config) -> Api:
    if config.api is None:
        raise ConfigError("[api] is missing in the configuration; see `sink-runner config`")
    check_secret(config.api.secret)
    return config.api


def _routes(args: argparse.Namespace, file: ConfigFile, settings: Api) -> Routes:
    plugins = loaded_plugins(read_plugins(args, file).values())
    return collect_routes([one.http_api for one in plugins if one.http_api], settings)
