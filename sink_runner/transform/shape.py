"""What the decoded rows of a source table hold, from the schema of a message and the catalog."""

from __future__ import annotations

from collections.abc import Iterable

from ..avro import EnvelopeDecoder
from ..model.envelope import Kind
from ..plugin import TableMapping
from ..postgres.catalog import TableCatalog
from ..postgres.types import UNRESOLVED
from .before_image import columns_before
from .incoming import Shape
from .route import HEADER
from .row import SourceColumn


def shape_of(
    decoder: EnvelopeDecoder, mapping: TableMapping, source: TableCatalog, value: bytes
) -> Shape:
    """What the decoded rows of a message's schema hold."""
    kinds = decoder.plan(int.from_bytes(value[1:HEADER])).row.columns

    def columns(names: Iterable[str]) -> list[SourceColumn]:
        return [column(name) for name in names]

    def column(name: str) -> SourceColumn:
        written, declared = kinds.get(name), source.columns.get(name)
        return SourceColumn(
            name,
            Kind.OPAQUE if written is None else written.kind,
            None if declared is None else declared.type,
            UNRESOLVED if declared is None else declared.pg,
            None if written is None else written.item,
        )

    return Shape(columns(mapping.source_columns), columns(columns_before(mapping)))
