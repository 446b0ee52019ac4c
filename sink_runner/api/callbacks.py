"""The two callbacks as rows: which table each belongs to and how its columns are written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Generic, TypeVar

from ..plugin import Table
from .debezium_envelope import WireColumn
from .requests import Alert, Forecast

_CENT = Decimal("0.01")
Item = TypeVar("Item", Forecast, Alert)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow(Generic[Item]):
    """One kind of callback; the first column is the table's key.

    The columns are all that are captured, in order: that makes the schema Debezium's own.
    """

    table: Table
    columns: tuple[WireColumn, ...]
    row: Callable[[Item], Mapping[str, Any]]
    moment: Callable[[Item], str]

    @property
    def topic(self) -> str:
        return str(self.table)

    @property
    def key(self) -> WireColumn:
        return self.columns[0]


def forecasts(table: str) -> Flow[Forecast]:
    return Flow(
        table=Table.parse(table),
        columns=(
            WireColumn("forecast_id", "int"),
            WireColumn("family_id", "uuid"),
            WireColumn("horizon_months", "int"),
            WireColumn("total_annual_value", "decimal", nullable=True),
            WireColumn("scheme_count", "int", nullable=True),
            WireColumn("projections", "json"),
            WireColumn("generated_at", "timestamp"),
            WireColumn("updated_at", "timestamp", nullable=True),
        ),
        row=_forecast,
        moment=lambda forecast: forecast.generated_at,
    )


def alerts(table: str) -> Flow[Alert]:
    return Flow(
        table=Table.parse(table),
        columns=(
            WireColumn("alert_id", "uuid"),
            WireColumn("family_id", "uuid"),
            WireColumn("alert_type", "text"),
            WireColumn("severity", "text"),
            WireColumn("message", "text"),
            WireColumn("action_url", "text", nullable=True),
            WireColumn("source_use_case", "text", nullable=True),
            WireColumn("created_at", "timestamp"),
        ),
        row=Alert.model_dump,
        moment=lambda alert: alert.created_at,
    )


def _forecast(forecast: Forecast) -> Mapping[str, Any]:
    row = forecast.model_dump(exclude={"status"})
    value = Decimal(str(forecast.total_annual_value)).quantize(_CENT, ROUND_HALF_UP)
    projections = json.dumps(forecast.projections, ensure_ascii=False, separators=(",", ":"))
    return row | {"total_annual_value": str(value), "projections": projections}
