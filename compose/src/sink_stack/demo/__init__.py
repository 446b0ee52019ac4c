"""Demo data for both databases: made up, alike for one seed, and never anybody's."""

from .command import demo

__all__ = ["demo"]
