"""What a caller may ask other services for: a forecast that the warehouse does not have."""

from sink_runner.plugin import ServiceRoute

from .reads import FORECAST

FORECAST_REQUEST = ServiceRoute(
    name="family_forecast_request",
    path=FORECAST.path,
    service="forecasts",
    scope="forecasts:request",
    parameters=FORECAST.parameters,
    unless=FORECAST,
    summary="Ask for a forecast of a family",
    description="The forecast service computes it and sends it to `POST /v1/forecasts`; a family "
    "that has one already is not computed again.",
)
