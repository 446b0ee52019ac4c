"""smart_warehouse.bench.live -> smart_citizen.bench.live."""

from sink_runner.plugin import TableMapping, hookimpl

from . import mapping


@hookimpl
def sink_mapping() -> TableMapping:
    return mapping("live")
