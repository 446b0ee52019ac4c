"""HTTP routes: callbacks for forecasts and alerts, masked reads of smart_warehouse."""

from sink_runner.plugin import HttpApi, hookimpl

from .callbacks import ALERTS, FORECASTS
from .reads import ELIGIBILITY, FORECAST, PROFILE
from .requests import FORECAST_REQUEST

_DESCRIPTION = """\
Callbacks of the forecast service and of the models that raise alerts, and reads of the warehouse
on demand. Every call needs an API key or a bearer token, and a scope; every answer that leaves
the warehouse is masked for the caller's group. Errors are problem details (RFC 9457)."""


@hookimpl
def sink_api() -> HttpApi:
    return HttpApi(
        routes=(FORECASTS, ALERTS, ELIGIBILITY, FORECAST, PROFILE, FORECAST_REQUEST),
        description=_DESCRIPTION,
    )
