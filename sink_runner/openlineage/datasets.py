"""The datasets of a mapping: its tables with their columns, and the lineage of each column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from psycopg.conninfo import conninfo_to_dict

from ..config.database import find_database
from ..config.dsn import Dsn
from ..masking.lineage import ColumnLineage, Input, column_lineage, row_inputs
from ..masking.policy import ColumnName, Policies
from ..pipeline import MappingSetup
from ..plugin import Table
from .events import Datasets, Json, facet

_Field = Mapping[str, str]


def describe(
    setup: MappingSetup, policies: Callable[[], Policies], *, writes: bool = True
) -> Datasets:
    """Return what a mapping reads and writes, with the masks of the current policies.

    Without `writes` the target is an input, too.  Raises ConfigError for an unusable connection
    string.
    """
    mapping, servers = setup.mapping, _Servers(setup.readers)
    columns = column_lineage(mapping, policies(), setup.origins, setup.target.columns)
    about_rows = row_inputs(mapping, setup.origins)
    read = [mapping.source_table, *_tables(columns, about_rows)]
    types = {} if mapping.query else setup.origins.types
    inputs = [
        servers.dataset(table, types if table == mapping.source_table else {})
        for table in dict.fromkeys(read)
    ]
    target_types = {name: column.type for name, column in setup.target.columns.items()}
    target = servers.dataset(mapping.target_table, target_types)
    if not writes:
        return Datasets([*inputs, target])
    target["facets"] |= facet(
        "columnLineage",
        fields={one.target: {"inputFields": servers.inputs(one)} for one in columns},
        dataset=[servers.field(name, "INDIRECT", "FILTER") for name in about_rows],
    )
    return Datasets(inputs, [target])


def _tables(columns: Iterable[ColumnLineage], others: Iterable[ColumnName]) -> list[Table]:
    names = [*(one.source for column in columns for one in column.inputs), *others]
    return [Table(*name[:3]) for name in names]


class _Servers:
    """Names tables and columns by the server and database that a connection string leads to."""

    def __init__(self, dsns: Mapping[str, Dsn]) -> None:
        self._dsns = dsns
        self._known: dict[str, tuple[str, str]] = {}

    def dataset(self, table: Table, types: Mapping[str, str]) -> Json:
        fields = [{"name": name, "type": type_} for name, type_ in types.items()]
        return {**self._name(table), "facets": facet("schema", fields=fields) if fields else {}}

    def inputs(self, column: ColumnLineage) -> list[Json]:
        steps = ", ".join(column.steps)
        return [self._input(one, steps) for one in column.inputs]

    def _input(self, one: Input, steps: str) -> Json:
        if not one.is_value:
            return self.field(one.source, "INDIRECT", "JOIN", steps)
        subtype = "TRANSFORMATION" if steps or one.mask else "IDENTITY"
        described = "; ".join(filter(None, (steps, one.mask and f"mask {one.mask}")))
        return self.field(one.source, "DIRECT", subtype, described, masking=bool(one.mask))

    def field(
        self,
        name: ColumnName,
        kind: str,
        subtype: str,
        description: str = "",
        *,
        masking: bool = False,
    ) -> Json:
        transformation = {
            "type": kind,
            "subtype": subtype,
            "description": description,
            "masking": masking,
        }
        table = self._name(Table(*name[:3]))
        return {**table, "field": name.column, "transformations": [transformation]}

    def _name(self, table: Table) -> Json:
        namespace, database = self._server(table.database)
        return {"namespace": namespace, "name": f"{database}.{table.schema}.{table.name}"}

    def _server(self, database: str) -> tuple[str, str]:
        """Return the namespace of a database's server, and the database's own name there."""
        if database not in self._known:
            found = conninfo_to_dict(find_database(self._dsns, database).conninfo())
            host, port = (str(found.get(key) or "").partition(",")[0] for key in ("host", "port"))
            if not host or host[0] in "/@":  # a Unix-domain socket
                host = "localhost"
            self._known[database] = (
                f"postgres://{host}:{port or 5432}",
                str(found.get("dbname") or database),
            )
        return self._known[database]
