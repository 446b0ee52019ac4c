"""The check of words: `python -m tests.project.words`."""

import tomllib
from pathlib import PurePath

import pytest

from . import words


@pytest.fixture(scope="module")
def checker() -> words.Checker:
    return words.Checker(tomllib.loads(words.RULES.read_text()))


def refused(checker: words.Checker, path: str, text: str) -> list[str]:
    return [finding.word for finding in checker.check(PurePath(path), text)]


def test_repository_has_no_private_words() -> None:
    assert words.main() == 0


@pytest.mark.parametrize(
    ("path", "line", "word"),
    [
        ("a.py", "told = read()", "told"),
        ("a.py", "def _letters_of(batch): ...", "letters"),
        ("a.py", "class PostgresLedger: ...", "Ledger"),
        ("a.py", "raise ValueError('nobody can be asked')", "nobody"),
        ("a.py", "# It goes on by itself.", "by itself"),
        ("a.py", "def run(around: Context) -> None: ...", "around"),
        ("a.py", "class Alone: ...", "Alone"),
        ("a.sql", "-- A settled letter", "letter"),
        ("README.md", "A dead letter is sealed anew.", "sealed"),
        ("README.md", "the value is no number", "is no number"),
        ("a.py", "# It goes on by\n    # itself.", "by itself"),
        ("Makefile", "up: ## mend what is broken", "mend"),
    ],
)
def test_private_word_is_refused(checker: words.Checker, path: str, line: str, word: str) -> None:
    assert word in refused(checker, path, line)


@pytest.mark.parametrize(
    "line",
    [
        "# A dead letter in the dead-letter queue: dead_letters, DeadLetter",
        "# a dead\n# letter, and every dead\n# letter's payload",
        "# letters, digits and underscores; a letter or a digit",
        "# It wraps around. That is enough. Which department recommends an amendment?",
        "mark(record)  # marked and recorded",
        "# there is no row; it is no longer read",
        "WHERE status = 'PARKED' -- sink-runner dlq rekey",
    ],
)
def test_ordinary_word_is_permitted(checker: words.Checker, line: str) -> None:
    assert refused(checker, "a.sql", line) == []


@pytest.mark.parametrize(
    "path", ["a/told.py", "a/watched.py", "a/asking/__init__.py", "a/alone.py"]
)
def test_module_named_by_participle_is_refused(checker: words.Checker, path: str) -> None:
    assert refused(checker, path, "")


@pytest.mark.parametrize("path", ["a/feed.py", "a/retry.py", "a/error_classes.py", "a/masking.py"])
def test_module_named_by_noun_is_permitted(checker: words.Checker, path: str) -> None:
    assert refused(checker, path, "") == []


def test_finding_names_place_and_replacement(checker: words.Checker) -> None:
    (finding,) = checker.check(PurePath("a/b.md"), "\n\nit is built anew\n")
    assert str(finding) == ("a/b.md:3: 'anew': say again, or what is built or read again")


def test_exempt_files_exist() -> None:
    exempt = tomllib.loads(words.EXEMPT.read_text())["files"]
    assert [path for path in exempt if not (words.ROOT / path).is_file()] == []
