"""The command line.

`program` finds the commands and runs one.  Each is a module named after it that is imported when
the command is called.  `command`, `arguments`, `configuration`, `database` and `tables` hold what
they share.
"""

from .program import main

__all__ = ["main"]
