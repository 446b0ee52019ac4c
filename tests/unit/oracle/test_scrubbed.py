"""What agrees with a text that had personal values, and what does not."""

import pytest

from ...oracle.scrubbed import ALERT, COMMENT, agrees


@pytest.mark.parametrize(
    ("original", "found"),
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
def test_a_text_without_what_is_forbidden_agrees(original, found):
    assert agrees(original, found, ALERT)


@pytest.mark.parametrize(
    ("original", "found"),
    [
        ("Two records carry 012345678901.", "Two records carry 012345678901."),
        ("Two records carry 012345678901.", "Two records ***."),
        ("because of income band VERY_LOW.", "because of income band VERY_LOW."),
        ("a LOW income", "a LOW income"),
        ("a LOW risk", "a *** risk"),
        ("a text", None),
    ],
)
def test_what_survives_or_goes_missing_does_not(original, found):
    assert not agrees(original, found, ALERT)


def test_a_comment_keeps_the_codes():
    assert agrees("income LOW", "income LOW", COMMENT)
    assert not agrees("at 0123456789", "at 0123456789", COMMENT)
