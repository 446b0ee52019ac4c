"""Values encoded as PostgreSQL's text."""

from datetime import date, time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sink_runner.transform.pg_encoding import array_text, text_key, to_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (date(2026, 1, 15), "2026-01-15"),
        (time(12, 30), "12:30:00"),
        (Decimal("1E+3"), "1000"),
        (b"\xff", "\\xff"),
        ({"day": date(2026, 1, 15)}, '{"day": "2026-01-15"}'),
        (5, "5"),
    ],
)
def test_value_is_encoded_as_postgresql_text(value: Any, text: str) -> None:
    assert to_text(value) == text


def test_nested_array_is_quoted() -> None:
    assert array_text([[1, None], ["\\", True]]) == '{{"1",NULL},{"\\\\","true"}}'
    assert array_text("{1}") == "{1}"


class TestTextKey:
    @pytest.mark.parametrize(
        ("value", "key"),
        [
            (5, "5"),
            (("a", None), ("a", None)),
            ((5, date(2026, 1, 2)), ("5", "2026-01-02")),
            ((None, "None"), (None, "None")),
        ],
    )
    def test_lookup_key_is_text_of_value(self, value: Any, key: Any) -> None:
        assert text_key(value) == key

    @given(
        *(st.tuples(*(st.none() | st.text('",[]\\ab', max_size=3),) * 2),) * 2,
    )
    def test_different_tuples_have_different_keys(self, first: tuple, second: tuple) -> None:
        assert (text_key(first) == text_key(second)) == (first == second)
