"""smart_warehouse.bench.account -> smart_citizen.bench.account."""

from sink_runner.plugin import TableMapping, hookimpl

from . import mapping


@hookimpl
def sink_mapping() -> TableMapping:
    return mapping("account")
