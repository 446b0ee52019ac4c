"""A CSV export contains no text that a spreadsheet would execute as a formula."""

import csv
import io
import json
from typing import Any

import pytest

from sink_runner.inspection.export import _writer

HARMLESS = ("", "Asha Devi", "a=1", "1-2", "'quoted", "पेंशन", "₹ 5", 'say "x"', "a,b")
FORMULAS = (
    *("=1+1", "+1", "-1", "@SUM(A1)", "\t=1+1", "\r=1+1", "\n=1+1", "\ttext", "\rtext", "\ntext"),
    *("\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20SUM(A1)", "\ufe661", "\u22121"),
    *(" =1+1", "\xa0=1", "\ufeff=1", "\u3000\uff1d1", "\0=1", "\u200b=1"),
)


def cells(record: dict[str, Any]) -> dict[str, str]:
    file = io.StringIO(newline="")
    _writer(file, as_csv=True)(record)
    (row,) = csv.DictReader(io.StringIO(file.getvalue(), newline=""))
    return row


@pytest.mark.parametrize("text", FORMULAS, ids=ascii)
def test_formula_is_quoted(text: str) -> None:
    assert cells({"error_message": text})["error_message"] == "'" + text


@pytest.mark.parametrize("text", HARMLESS, ids=ascii)
def test_other_text_is_unchanged(text: str) -> None:
    assert cells({"error_message": text})["error_message"] == text


def test_numbers_and_rows_are_unchanged() -> None:
    row = cells({"offset": -5, "after": {"a": "=1+1"}})
    assert row["offset"] == "-5"
    assert json.loads(row["after"]) == {"a": "=1+1"}
