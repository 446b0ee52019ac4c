"""The command line: `program` finds and runs the commands, each in a module named after it."""

from .program import main

__all__ = ["main"]
