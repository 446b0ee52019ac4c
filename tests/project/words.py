"""Refuse private words in code and documentation: `python -m tests.project.words`.

Exit code 1: a line for each word, `file:line: 'word': say ...`.  `words.toml` has what is refused;
`words_exempt.toml` has the files that keep their words, each with the reason.
"""

import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
RULES = Path(__file__).with_name("words.toml")
EXEMPT = Path(__file__).with_name("words_exempt.toml")
# What stands before the text of a line, so that a phrase may go on in the next one.
_MARGIN = re.compile(r"^[ \t]*(?:#|--)?[ \t]*", re.MULTILINE)
_WORDS_OF_A_NAME = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_+")


class Finding(NamedTuple):
    path: PurePath
    line: int
    word: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word!r}: say {self.instead}"


class Rules:
    """The patterns of one table of `words.toml`, each with what to say instead."""

    def __init__(self, table: Mapping[str, str]) -> None:
        self._instead = list(table.values())
        patterns = (f"(?P<w{n}>{pattern})".replace(" ", r"\s") for n, pattern in enumerate(table))
        self._pattern = re.compile(rf"\b(?:{'|'.join(patterns)})\b", re.IGNORECASE)

    def search(self, text: str) -> Iterator[tuple[int, str, str]]:
        """Yield line and text of each refused word, and what to say instead."""
        for match in self._pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield line, " ".join(match[0].split()), self._instead_of(match)

    def match(self, name: str) -> str | None:
        """Return what to say instead of a name that is refused as a whole."""
        match = self._pattern.fullmatch(name)
        return match and self._instead_of(match)

    def _instead_of(self, match: re.Match[str]) -> str:
        groups = match.groupdict()
        return next(self._instead[int(name[1:])] for name in groups if groups[name] is not None)


class Checker:
    """Checks files against the tables of `words.toml`."""

    def __init__(self, rules: Mapping[str, Any]) -> None:
        self._public = re.compile("|".join(rules["public"]))
        self._anywhere, self._names, self._modules = (
            Rules(rules[table]) for table in ("anywhere", "names", "modules")
        )

    def check(self, path: PurePath, text: str) -> Iterator[Finding]:
        """Yield what is refused in a file: words and phrases, names in it, its own name."""
        prose = split_names(self._public.sub("", _MARGIN.sub("", text)))
        for line, word, instead in self._anywhere.search(prose):
            yield Finding(path, line, word, instead)
        if path.suffix == ".py":
            name = path.parent.name if path.stem == "__init__" else path.stem
            if instead := self._modules.match(name.removeprefix("test_")):
                yield Finding(path, 1, name, instead)
            yield from self._check_names(path, text)

    def _check_names(self, path: PurePath, text: str) -> Iterator[Finding]:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NAME and (
                instead := self._names.match(token.string.strip("_"))
            ):
                yield Finding(path, token.start[0], token.string, instead)


def split_names(text: str) -> str:
    """Separate the words of identifiers: `dead_letterStore` becomes `dead letter Store`."""
    return _WORDS_OF_A_NAME.sub(" ", text)


def tracked_texts(exempt: Iterable[str]) -> Iterator[tuple[PurePath, str]]:
    """Yield path and content of each text file that Git tracks, but for those that are exempt."""
    listing = ["git", "ls-files", "-z", *(f":(exclude){path}" for path in exempt)]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        content = (ROOT / name).read_bytes()
        if b"\0" not in content:
            yield PurePath(name), content.decode(errors="replace")


def main() -> int:
    checker = Checker(tomllib.loads(RULES.read_text()))
    texts = tracked_texts(tomllib.loads(EXEMPT.read_text())["files"])
    findings = [finding for path, text in texts for finding in checker.check(path, text)]
    for finding in findings:
        print(finding)
    return bool(findings)


if __name__ == "__main__":
    sys.exit(main())
