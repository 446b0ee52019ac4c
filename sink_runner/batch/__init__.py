"""Carry a mapping's source table, or a query on it, to the target: the batch form of a mapping.

`build` connects a mapping, `plan` decides which rows to read, `run` carries them. Imports
`pipeline` and what lies below; `inspection` and the command `batch` use it.
"""

from .rows import RowFormat, is_batch_row
from .source import Source

__all__ = ["RowFormat", "Source", "is_batch_row"]
