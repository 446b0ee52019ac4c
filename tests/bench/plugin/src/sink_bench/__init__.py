"""Mappings of two tables with the same columns, for the benchmarks of throughput and latency."""

from sink_runner.plugin import Column, TableMapping, newest_wins

_COLUMNS = """account_uuid full_name father_name email mobile national_number address city pincode
date_of_birth status district_id balance income is_verified is_active created_at"""


def make_mapping(table: str) -> TableMapping:
    """Return a mapping of twenty columns, three of which the policies mask."""
    return TableMapping(
        source=f"smart_warehouse.bench.{table}",
        target=f"smart_citizen.bench.{table}",
        key=("id",),
        conflict=newest_wins("updated_at"),
        columns=(
            Column("id", required=True),
            *(Column(name) for name in _COLUMNS.split()),
            Column("updated_at", required=True),
            Column("revision"),
        ),
    )
