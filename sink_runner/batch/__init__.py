"""Batch runs: read a mapping's source table, or a query on it, and write it to the target.

`build` connects a mapping, `plan` decides which rows to read, `run` reads and writes them. Imports
`pipeline` and the layers below it; `inspection` and the command `batch` use it.
"""

from .rows import RowFormat, is_batch_row
from .source import Source

__all__ = ["RowFormat", "Source", "is_batch_row"]
