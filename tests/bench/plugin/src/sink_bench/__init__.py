"""Two mappings of one shape: a table whose changes are recorded, and one that is timed live."""

from sink_runner.plugin import Column, TableMapping, newest_wins

_COLUMNS = """account_uuid full_name father_name email mobile national_number address city pincode
date_of_birth status district_id balance income is_verified is_active created_at"""


def mapping(table: str) -> TableMapping:
    """Twenty columns, of which the policies mask three; the newer of two rows stays."""
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
