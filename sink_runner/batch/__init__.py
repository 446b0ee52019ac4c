"""The batch form of a mapping: its source table, or a query on it, through the same chain."""

from .rows import RowFormat, is_batch_row
from .source import Source

__all__ = ["RowFormat", "Source", "is_batch_row"]
