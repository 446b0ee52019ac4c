from sink_runner.plugin import TableMapping, hookimpl

from . import make_mapping


@hookimpl
def sink_mapping() -> TableMapping:
    return make_mapping("live")
