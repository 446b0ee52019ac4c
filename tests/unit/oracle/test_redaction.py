"""Redacted free texts that the oracle accepts, and ones that it refuses."""

import pytest

from ...oracle.redaction import ALERT_VALUES, COMMENT_VALUES, is_redaction


@pytest.mark.parametrize(
    ("original", "redacted"),
    [
        ("Two records carry 012345678901.", "Two records carry ***."),
        ("call 0123456789 or a.b@example.in", "call  or [e-mail]"),
        ("because of income band VERY_LOW.", "because of income band ***."),
        ("because of income band VERY_LOW.", "because of ***."),
        ("a LOW income, a LOW risk", "a *** income, a LOW risk"),
        ("a LOW income, a HIGH risk", "a *** income, a *** risk"),
        ("write to a@example.in.", "write to ***"),
        ("UNCERTAIN whether", "*** whether"),
        ("order 12345678901 of HIGH priority", "order 12345678901 of HIGH priority"),
        (None, None),
    ],
)
def test_redacted_text_is_accepted(original, redacted):
    assert is_redaction(original, redacted, ALERT_VALUES)


@pytest.mark.parametrize(
    ("original", "redacted"),
    [
        ("Two records carry 012345678901.", "Two records carry 012345678901."),
        ("Two records carry 012345678901.", "Two records ***."),
        ("because of income band VERY_LOW.", "because of income band VERY_LOW."),
        ("a LOW income", "a LOW income"),
        ("a LOW risk", "a *** risk"),
        ("a text", None),
    ],
)
def test_kept_value_or_missing_text_is_refused(original, redacted):
    assert not is_redaction(original, redacted, ALERT_VALUES)


def test_comment_keeps_income_codes():
    assert is_redaction("income LOW", "income LOW", COMMENT_VALUES)
    assert not is_redaction("at 0123456789", "at 0123456789", COMMENT_VALUES)
