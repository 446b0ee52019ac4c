"""``sink-runner api`` and ``sink-runner api-key``: the HTTP service, and keys for its callers."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys

from .. import log
from ..api.keys import check_secret, hash_key, new_key
from ..config import Config
from ..config.api import Scope
from ..errors import ConfigError
from .command import OK, Subparsers, add_command, add_config_option, read_config

TEACHING = """\
Callbacks of the forecast service and of the models that raise alerts become change events in
Kafka, in Debezium's form, and go the way of any other; reads of the warehouse on demand are
masked for the caller's group.  [api] in sink-runner.toml says who may call, and how often;
`sink-runner config` explains it.

  /docs      what can be called, with examples         /openapi.json   the same for programs
  /healthz   the process lives                         /readyz         so does what it needs

A callback has no place in the database's log: it never brings back a row whose deletion there is
still remembered (remember_deletes_days).

Runs until SIGTERM or Ctrl-C; requests in flight are finished first.

examples:
  pip install 'sink-runner[api]'
  sink-runner api-key new forecast-service --scope forecasts:write
  sink-runner api
"""
KEY_TEACHING = """\
The key is shown once, on standard error; standard output has the lines for sink-runner.toml, and a
redirect stores no secret.  What is stored is its keyed hash, which [api] secret makes useless to
whoever reads the configuration.  To take a key back, remove its table and restart the service.

examples:
  sink-runner api-key new forecast-service --scope forecasts:write
  sink-runner api-key new portal --scope profiles:read --group smart_citizen >> sink-runner.toml
"""
_NEEDED = ("fastapi", "uvicorn", "joserfc", "psycopg_pool")


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers, "api", summary="serve callbacks and masked reads over HTTP", teaching=TEACHING
    )
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
        choices=[scope.value for scope in Scope],
        help="what it may do; may be repeated",
    )
    new.add_argument("--group", default="", help="group of the masking policies, for reads")
    new.set_defaults(run=new_api_key)


def api(args: argparse.Namespace) -> int:
    config = read_config(args).config()
    _section(config)
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"{', '.join(missing)} not installed: pip install 'sink-runner[api]'")
    log.configure(config.log)
    # The framework is not loaded, and need not be there, for the commands that serve nothing.
    from ..api.serve import serve  # noqa: PLC0415

    return serve(config)


def new_api_key(args: argparse.Namespace) -> int:
    secret = _section(read_config(args).config())
    key = new_key()
    # Not on standard output, which a redirect appends to the configuration.
    print(f"The key, shown this once; the caller sends it as X-API-Key:\n{key}", file=sys.stderr)
    print(f"[api.clients.{json.dumps(args.name)}]")
    print(f"key_hash = {json.dumps(hash_key(secret, key))}")
    print(f"scopes = {json.dumps(args.scope)}")
    if args.group:
        print(f"group = {json.dumps(args.group)}")
    return OK


def _section(config: Config) -> str:
    """The secret, if there is an [api] that can be used."""
    if config.api is None:
        raise ConfigError("[api] is missing in the configuration; see `sink-runner config`")
    check_secret(config.api.secret)
    return config.api.secret
