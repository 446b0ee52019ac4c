"""``sink-runner api-key``: keys for the callers of the API."""

from __future__ import annotations

import json
import sys

import click

from ..api.api_keys import hash_key, new_key
from .api import api_settings, declared_routes
from .command import OK, Group
from .configuration import read_config


@click.group(cls=Group)
def api_key() -> None:
    """Make keys for the callers of the API.

    The key is printed once, on standard error. Standard output has the lines for sink-runner.toml,
    so a redirect stores no secret: they hold a hash of the key that depends on [api] secret. To
    revoke a key, remove its table and restart the service.

    examples:
      sink-runner api-key new shop --scope orders:write
      sink-runner api-key new portal --scope orders:read \\
          --group analysts >> sink-runner.toml
    """


@api_key.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    metavar="SCOPE",
    help="What the caller may do, as a route declares it; may be repeated.",
)
@click.option("--group", default="", help="Group of the masking policies, for reads.")
def new(*, name: str, scopes: tuple[str, ...], group: str) -> int:
    """Print a new key and the lines that let its caller in.

    NAME is what the caller is called in the configuration and in logs.
    """
    file = read_config()
    settings = api_settings(file.config())
    known = declared_routes(file, settings).scopes
    if unknown := [scope for scope in scopes if scope not in known]:
        raise click.UsageError(f"unknown scope {unknown[0]!r}; known: {', '.join(known) or 'none'}")
    key = new_key()
    print(f"The key, shown this once; the caller sends it as X-API-Key:\n{key}", file=sys.stderr)
    print(f"[api.clients.{json.dumps(name)}]")
    print(f"key_hash = {json.dumps(hash_key(settings.secret, key))}")
    print(f"scopes = {json.dumps(scopes)}")
    if group:
        print(f"group = {json.dumps(group)}")
    return OK
