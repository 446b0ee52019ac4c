"""The option `--completion`, for the parser of any program."""

from __future__ import annotations

import argparse
from typing import Any

SHELLS = ("bash", "zsh", "fish")


class Completion(argparse.Action):
    """print the completion script of a shell, and end"""

    def __call__(
        self, parser: argparse.ArgumentParser, _: Any, values: Any, __: Any = None
    ) -> None:
        import shtab  # noqa: PLC0415 - no other command needs it

        print(shtab.complete(parser, values))
        parser.exit()
