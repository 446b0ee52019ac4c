"""Finds and runs the console blocks of the documentation."""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^>]+) -->\n)?^```(?:console|sh|bash)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_FILE = re.compile(r"(?:in|is\n?) ?`([\w.-]+)`[^\n]*(?:\n[^\n]+)?:\n\n```\w+\n(.*?)```", re.DOTALL)
_MARK = "-- end of command"


@dataclass(frozen=True, slots=True)
class Block:
    """A console block; `reason` says why it must not be run, if so."""

    text: str
    reason: str | None

    def commands(self) -> Iterator[tuple[str, str]]:
        """Yield each command with the output that the page shows below it."""
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            lines = part.splitlines(keepends=True)
            end = next(n for n, line in enumerate(lines) if not line.endswith("\\\n")) + 1
            yield "".join(lines[:end]), "".join(lines[end:])


def console_blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [Block(match["text"], match["reason"]) for match in _BLOCK.finditer(text)]


def code_blocks(page: Path) -> list[tuple[str, str]]:
    """Return the language and the text of each code block of a page."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def files(page: Path) -> dict[str, str]:
    """Return the files that a page has its reader create: text by name."""
    return dict(_FILE.findall(page.read_text(encoding="utf-8")))


def run(page: Path, folder: Path, environment: Mapping[str, str]) -> None:
    """Run a page's commands in one shell; assert that each succeeds with the page's output."""
    steps = [
        step for block in console_blocks(page) if not block.reason for step in block.commands()
    ]
    script = "".join(f"{command}echo '{_MARK}'\n" for command, _ in steps)
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    outputs = result.stdout.split(f"{_MARK}\n")
    assert result.returncode == 0, f"{steps[len(outputs) - 1][0]}{outputs[-1]}"
    for (command, expected), output in zip(steps, outputs, strict=False):
        assert matches(expected, output), f"$ {command}{output}"


def matches(expected: str, output: str) -> bool:
    """Whether the output is as expected: "…" stands for any text, and so does an empty block."""
    pattern = ".*".join(re.escape(part.strip()) for part in expected.split("…"))
    return not expected or re.fullmatch(pattern, output.strip(), re.DOTALL) is not None
