"""Names of tests have at most eight words."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.pages import ROOT

WORDS = 8
FOLDERS = ("tests", "compose", "plugins")


def test_names_of_tests_are_short() -> None:
    files = (file for folder in FOLDERS for file in (ROOT / folder).rglob("test_*.py"))
    long = [f"{file.relative_to(ROOT)}: {name}" for file in files for name in long_names(file)]
    assert not long, "\n".join([f"expected at most {WORDS} words after test_:", *sorted(long)])


def long_names(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        name = node.name if isinstance(node, ast.FunctionDef) else ""
        if name.startswith("test_") and len(name.split("_")) > 1 + WORDS:
            yield name


@pytest.mark.parametrize(
    ("name", "reported"),
    [
        ("test_name_of_eight_words_is_still_short_enough", []),
        ("test_name_of_nine_words_is_one_word_too_long", ["refused"]),
        ("names_of_helpers_may_be_as_long_as_they_need_to_be", []),
    ],
)
def test_long_name_is_reported(tmp_path: Path, name: str, reported: list[str]) -> None:
    file = tmp_path / "test_file.py"
    file.write_text(f"class TestOne:\n    def {name}(self):\n        pass\n")
    assert list(long_names(file)) == [name for _ in reported]
