"""``sink-runner reload``: restart the runners one after the other."""

from __future__ import annotations

import json

import click

from ..control.reload import request_reload
from ..control.status import read_status
from .arguments import json_option, user_option
from .command import OK, Command
from .configuration import read_config, read_plugins
from .control_options import streaming_targets


@click.command(cls=Command)
@user_option("Who reloads, as it is recorded.")
@json_option
def reload(*, user: str, as_json: bool) -> int:
    """Restart the runners one after the other.

    Each runner first checks the settings and plugins as `sink-runner run --check` does; if they
    have a fault, it goes on with those that it has, and the log says why. Otherwise it finishes its
    batches and executes its command line again under the same process number, so no supervisor is
    needed. The next runner follows when that one has started. Environment variables stay as they
    are: a new one needs a restart by the supervisor.

    The command prints the runners that report at present, and does not wait for them.

    examples:
      sink-runner reload
      sink-runner reload --json
    """
    file = read_config()
    config, plugins = file.config(), read_plugins(file)
    runners = {one for report in read_status(config, plugins.values()) for one in report.runners}
    for target in streaming_targets(config, plugins):
        with target.session() as connection:
            request_reload(connection, user)
    if as_json:
        print(json.dumps({"runners": sorted(runners)}))
    else:
        print(f"requested of {', '.join(sorted(runners)) or 'no runner: none reports'}")
    return OK
