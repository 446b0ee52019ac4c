"""reladiff, another program, finds the same differences, and none after a repair.

It compares columns that are copied unchanged, so it needs a mapping that masks none of them.
"""

import pytest
from reladiff import connect_to_table, diff_tables

from ..batch.test_callback_rows import FAMILY, NAME
from .test_comparing import count_differences

pytestmark = pytest.mark.postgres
COLUMNS = ("family_id", "horizon_months", "total_annual_value", "scheme_count", "generated_at")
FILL = """
INSERT INTO forecast.benefit_forecasts (forecast_id, family_id, horizon_months,
  total_annual_value, scheme_count, generated_at)
SELECT n, %s, 12, n * 1.25, n %% 7, timestamp '2026-01-01' + n * interval '1 minute'
FROM generate_series(1, 400) n
"""
SOURCE_DAMAGE = (
    "DELETE FROM forecast.benefit_forecasts WHERE forecast_id IN (5, 399)",
    "UPDATE forecast.benefit_forecasts SET scheme_count = 99 WHERE forecast_id IN (17, 250)",
)
TARGET_DAMAGE = (
    "DELETE FROM benefit_forecasts WHERE forecast_id IN (1, 100, 400)",
    "UPDATE benefit_forecasts SET total_annual_value = 0.01 WHERE forecast_id = 200",
    "UPDATE benefit_forecasts SET forecast_id = 1000 WHERE forecast_id = 300",
)
MISSING, EXTRA, DIFFERENT = {1, 100, 300, 400}, {5, 399, 1000}, {17, 200, 250}


def find_differences(pair) -> dict[str, set[int]]:
    """Return the keys that reladiff finds only in the source, only in the target, and in both."""
    tables = [
        connect_to_table(
            pair.postgres.dsn(pair.names[database]), table, "forecast_id", extra_columns=COLUMNS
        )
        for database, table in (
            ("smart_warehouse", ("forecast", "benefit_forecasts")),
            ("smart_citizen", ("public", "benefit_forecasts")),
        )
    ]
    found: dict[str, set[int]] = {"-": set(), "+": set()}
    for sign, row in diff_tables(*tables, extra_columns=COLUMNS):
        found[sign].add(int(row[0]))
    source, target = found.values()
    return {"missing": source - target, "extra": target - source, "different": source & target}


def test_other_program_finds_same_differences(pair) -> None:
    pair.warehouse.execute(FILL, (FAMILY,))
    pair.run(NAME, full=True)
    for statement in SOURCE_DAMAGE:
        pair.warehouse.execute(statement)
    for statement in TARGET_DAMAGE:
        pair.citizen.execute(statement)
    expected = {"missing": MISSING, "extra": EXTRA, "different": DIFFERENT}
    assert find_differences(pair) == expected
    report = pair.reconcile(NAME, repair=True)
    assert count_differences(report) == {kind: len(keys) for kind, keys in expected.items()}
    assert find_differences(pair) == {"missing": set(), "extra": set(), "different": set()}
